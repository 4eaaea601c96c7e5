//! The example of the semantics page: as it is printed there it lacks three things; completed it loads and routes.

use super::*;

const PRINTED: &str = r#"exchanges:
  - name: task_exchange
    type: topic
    durable: true
    bindings:
      - { routing_key: "billing.#", queue: billing_tasks, priority: 1 }
      - { routing_key: "notifications.#", queue: notification_tasks, priority: 0 }
queues:
  - { name: billing_tasks, dlq: billing_dlq, max_length: 50000, overflow: reject-publish }
  - { name: billing_dlq, retention: 7d, dead_letter_exchange: dlx, dead_letter_routing_key: "billing.failed" }
"#;

const COMPLETED: &str = include_str!("../../../examples/topologies/payments.yaml");

const REFUSAL: &str = r#"error: `durable` needs a journal, and there is none: `task_exchange` lives in memory
 --> tasks.yaml:4:14
  |
4 |     durable: true
  |              ^^^^
  = help: leave `durable` away: what is not finished when the process dies is gone

error: queue `notification_tasks` is not declared
 --> tasks.yaml:7:50
  |
7 |       - { routing_key: "notifications.#", queue: notification_tasks, priority: 0 }
  |                                                  ^^^^^^^^^^^^^^^^^^
  = help: declare it in `queues`

error: exchange `dlx` is not declared
  --> tasks.yaml:10:63
   |
10 |   - { name: billing_dlq, retention: 7d, dead_letter_exchange: dlx, dead_letter_routing_key: "billing.failed" }
   |                                                               ^^^
   = help: declare it in `exchanges`

tasks.yaml: 3 errors
the smallest completion:
  add to `queues`:
      - { name: notification_tasks }
  add to `exchanges`:
      - { name: dlx, type: direct }
  remove `durable` of `task_exchange`"#;

#[test]
fn as_printed_it_is_refused_with_all_three_faults() {
    let error = Topology::from_yaml(PRINTED, "tasks.yaml").unwrap_err();
    assert_eq!(error.to_string(), REFUSAL);
}

/// What the loader offers is enough.
#[test]
fn the_completion_that_is_offered_completes_it() {
    let completed = PRINTED
        .replace("    durable: true\n", "")
        .replace("queues:\n", "  - { name: dlx, type: direct }\nqueues:\n  - { name: notification_tasks }\n");
    let offered = Topology::from_yaml(&completed, "tasks.yaml").unwrap();
    // the file keeps the keys of its dead letters besides
    let mut file = Topology::from_yaml(&COMPLETED.replace("keep_routing_keys: true, ", ""), "payments.yaml").unwrap();
    file.queues.rotate_right(1);
    assert_eq!(offered, file);
}

#[test]
fn completed_it_loads_and_routes() {
    let topology = Topology::from_yaml(COMPLETED, "payments.yaml").unwrap();
    let mut builder = Runtime::builder();
    let declared = topology.declare_pull::<&str>(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    let mut publisher = declared.exchange("task_exchange").unwrap().publisher();
    let depths = || ["billing_tasks", "notification_tasks"].map(|name| declared.queue(name).unwrap().depth());
    publisher.publish("billing.x.y", "bill").unwrap();
    assert_eq!(depths(), [1, 0]);
    publisher.publish("notifications", "note").unwrap();
    assert_eq!(depths(), [1, 1]);
    let error = publisher.publish("other", "lost").unwrap_err();
    assert!(error.is_unroutable());
    assert_eq!((error.into_inner(), depths()), ("lost", [1, 1]));
    assert_eq!(declared.queue("billing_tasks").unwrap().capacity(), 50_000);
    drop(runtime);
}

/// The exchange of the example leads nowhere: after seven days the letter is gone, and counted.
#[test]
fn its_dead_letters_are_gone_after_seven_days_and_move_on_where_there_is_a_way() {
    let parked = COMPLETED
        .replace("{ name: dlx, type: direct }", "{ name: dlx, type: direct, bindings: [{ routing_key: billing.failed, queue: parked }] }");
    for (text, gone, moved) in [(COMPLETED.to_owned(), 1, 0), (parked + "  - { name: parked }\n", 0, 1)] {
        let topology = Topology::from_yaml(&text, "payments.yaml").unwrap();
        let clock = std::sync::Arc::new(crate::clock::ManualClock::new());
        let mut builder = Runtime::builder().manual(clock.clone());
        let declared = topology
            .declare(&mut builder, |_| Some(|_: &&str, _: &crate::Context<&str>| Err::<(), _>(crate::JobError::fatal("no"))))
            .unwrap();
        let runtime = builder.build().unwrap();
        declared.exchange("task_exchange").unwrap().publisher().publish("billing.x", "bill").unwrap();
        let day = Duration::from_secs(86_400);
        runtime.turn();
        clock.advance(7 * day - Duration::from_secs(2));
        runtime.advance(&clock, Duration::from_secs(1));
        let mut keys = Vec::new();
        declared.queue("billing_tasks").unwrap().dead_letters().for_each(|letter| keys.extend(letter.routing_key().map(str::to_owned)));
        assert_eq!(keys, ["billing.x"]);
        runtime.advance(&clock, Duration::from_secs(2));
        let seen = declared.queue("billing_tasks").unwrap().snapshot();
        assert_eq!((seen.dead_letters, seen.letters_dropped_by_age, seen.letters_unroutable, seen.letters_moved), (0, gone, gone, moved));
        if let Some(parked) = declared.queue("parked") {
            let letter = parked.dead_letters().take().unwrap();
            let deaths = letter.record().deaths.iter().map(|death| (&*death.queue, death.reason.to_string())).collect::<Vec<_>>();
            let was = |queue, reason: &str| (queue, reason.to_owned());
            assert_eq!(deaths, [was("parked", "rejected"), was("billing_tasks", "aged"), was("billing_tasks", "rejected")]);
            assert_eq!(letter.routing_key(), Some("billing.failed"));
        }
        drop(runtime);
    }
}

/// Pasted where it says, or at the end of the file, it loads.
#[test]
fn in_toml_the_completion_is_written_as_the_lists_are() {
    let text = "[[queues]]\nname = 'q'\npool = 'fast'\nretry = { max_attempts = 2 }\n[[exchanges]]\nname = 'x'\ntype = 'topic'\nalternate = 'rest'\n\
                [[exchanges.bindings]]\nrouting_key = 'a'\nqueue = 'mails of \"all\"'\n";
    let inline = "pools = [{ name = 'other' }]\n";
    let tables = "add to `exchanges`:\n    [[exchanges]]\n    name = \"rest\"\n    type = \"direct\"\n\
                  add to `queues`:\n    [[queues]]\n    name = \"mails of \\\"all\\\"\"";
    for (text, pools) in
        [(text.to_owned(), "\n    [[pools]]\n    name = \"fast\""), (format!("{inline}{text}"), "\n    { name = \"fast\" },")]
    {
        let completion = toml(&text).unwrap_err().completion().unwrap();
        let (heads, pasted): (Vec<&str>, Vec<&str>) = completion.lines().partition(|line| line.starts_with("add to"));
        assert_eq!(heads.len(), 3, "{completion}");
        assert!(completion.contains(pools) && tables.split("add to").all(|part| completion.contains(part.trim_end())), "{completion}");
        let (rows, pasted): (Vec<&str>, Vec<&str>) = pasted.into_iter().partition(|line| line.contains('{'));
        let text = text.replace("[{", &format!("[{} {{", rows.concat()));
        toml(&format!("{text}{}\n", pasted.join("\n"))).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn in_toml_the_completion_is_toml() {
    let text = "queues = [{ name = 'q' }]\nexchanges = [{ name = 'x', type = 'topic', alternate = 'rest' }]";
    let completion = toml(text).unwrap_err().completion().unwrap();
    assert_eq!(completion, "add to `exchanges`:\n    { name = \"rest\", type = \"direct\" },");
}
