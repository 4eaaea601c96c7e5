//! A notification service: two payload types in one pool, handlers by kind, state that they share, and layers around them.
//!
//! ```text
//! cargo run --example handlers
//! ```
//!
//! Prints what ran, how long it took, and what died of what. Exit code 1 unless every job is accounted for.

#![allow(clippy::disallowed_types, reason = "a user of the crate, not the crate")]

use ringmill::{
    Context, JobError, Kind, Layer, Layers, Mux, Observed, Payload, PoolConfig, QueueConfig, QueueHandle, Runtime, ShutdownOptions,
    Verdict, with_state,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

// ---- what is published ----

/// A message that goes out to somebody; its kind says how.
struct Message {
    kind: &'static str,
    to: String,
}

impl Payload for Message {}

impl Kind for Message {
    fn kind(&self) -> &str {
        self.kind
    }
}

/// A picture to be made smaller.
struct Resize {
    width: u32,
    to: u32,
}

impl Payload for Resize {}

// ---- who works on it ----

/// What the handlers share: the outside world.
#[derive(Default)]
struct Services {
    sent: Mutex<Vec<String>>,
}

impl Services {
    fn email(&self, message: &Message, context: &Context<Message>) -> Result<(), JobError> {
        match message.to.split_once('@') {
            None => Err(JobError::fatal(format!("`{}` is no address", message.to))),
            Some((_, "slow.example")) if context.attempt() == 1 => Err(JobError::transient("no answer")),
            Some(_) => self.send("email", &message.to),
        }
    }

    fn welcome(&self, message: &Message, _: &Context<Message>) -> Result<(), JobError> {
        self.send("welcome", &message.to)
    }

    fn resize(&self, picture: &Resize, _: &Context<Resize>) -> Result<(), JobError> {
        let percent = picture.to * 100 / picture.width; // a bug: widths of zero
        self.send("picture", &format!("{percent} %"))
    }

    fn send(&self, how: &str, what: &str) -> Result<(), JobError> {
        self.sent.lock().map_err(|_| "a sender has died")?.push(format!("{how}: {what}"));
        Ok(())
    }
}

// ---- what is around it ----

/// Runs and the longest of them, by name.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<BTreeMap<String, (u32, Duration)>>>);

impl Times {
    fn add(&self, name: &str, took: Duration, outcome: Observed<'_>) {
        let name = format!("{name}, {}", if outcome == Observed::Ended(&Verdict::Ack) { "done" } else { "failed" });
        let mut times = self.0.lock().expect("nobody panics in here");
        let (runs, longest) = times.entry(name).or_default();
        *runs += 1;
        *longest = took.max(*longest);
    }
}

/// Rejects what has failed so many times: a layer with a setting, for jobs of any type.
struct FewAttempts(u32);

impl<T> Layer<T> for FewAttempts {
    fn call(&self, _: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        match next() {
            Verdict::Retry(error) if context.attempt() >= self.0 => Verdict::Reject(error),
            verdict => verdict,
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let (services, times) = (Arc::new(Services::default()), Times::default());

    let by_kind = Mux::new()
        .on("email:welcome", with_state(Arc::clone(&services), Services::welcome))?
        .on_prefix("email:", with_state(Arc::clone(&services), Services::email))?;
    let note = times.clone();
    let messages = Layers::new()
        .timed(move |message: &Message, _, took, outcome| note.add(message.kind, took, outcome))
        .layer(FewAttempts(3))
        .handler(by_kind);

    let note = times.clone();
    let pictures = Layers::new()
        .timed(move |_: &Resize, _, took, outcome| note.add("resize", took, outcome))
        .catch_panic(|picture: &Resize, _, message| Verdict::Reject(JobError::fatal(format!("{message}, at a width of {}", picture.width))))
        .handler(with_state(Arc::clone(&services), Services::resize));

    let mut builder = Runtime::builder();
    builder.pool(PoolConfig::new("default").workers(2))?;
    let messages = builder.queue(QueueConfig::new("messages").capacity(1024).weight(2), messages)?;
    let pictures = builder.queue(QueueConfig::new("pictures").capacity(1024), pictures)?;
    let runtime = builder.build()?;

    let (message, picture) = (messages.producer()?, pictures.producer()?);
    for (kind, to) in [
        ("email:welcome", "ada@example.org"),
        ("email:invoice", "ada@example.org"),
        ("email:invoice", "bob@slow.example"),
        ("email:invoice", "nobody"),
        ("fax:invoice", "+1 555 0100"),
    ] {
        message.publish(Message { kind, to: to.to_owned() })?;
    }
    for width in [640, 1280, 0] {
        picture.publish(Resize { width, to: 320 })?;
    }
    let report = runtime.shutdown(ShutdownOptions::default());

    for (name, (runs, longest)) in times.0.lock().expect("nobody panics in there").iter() {
        println!("{name:<24} {runs:>3} runs, the longest {longest:?}");
    }
    let mut sent = services.sent.lock().map_err(|_| "a sender has died")?.clone();
    sent.sort();
    let mut died = letters(&messages);
    died.extend(letters(&pictures));
    died.sort();
    println!("sent: {sent:#?}\ndied: {died:#?}");

    let wanted = ["email: ada@example.org", "email: bob@slow.example", "picture: 25 %", "picture: 50 %", "welcome: ada@example.org"];
    Ok(report.is_clean() && sent == wanted && died.len() == 3 && balances(&messages) && balances(&pictures))
}

/// What the dead letters of a queue of any payload died of.
fn letters<T: Payload>(queue: &QueueHandle<T>) -> Vec<String> {
    std::iter::from_fn(|| queue.dead_letters().take())
        .map(|letter| format!("{}: {}", queue.name(), letter.record().last_error.as_deref().unwrap_or("no reason")))
        .collect()
}

fn balances<T: Payload>(queue: &QueueHandle<T>) -> bool {
    let snapshot = queue.snapshot();
    println!(
        "{:<24} {} accepted, {} done, {} dead",
        queue.name(),
        snapshot.counts.accepted,
        snapshot.counts.acked,
        snapshot.counts.dead_lettered
    );
    snapshot.ledger_balances()
}
