//! A shop asks a pool of workers for prices and waits for the answers: with a deadline, as futures, not at all.
//!
//! `cargo run --release --example answers` prints what became of each question, and asserts that it is right.

#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a handler that takes its time")]

use ringmill::{
    Completed, Completion, Context, DeathReason, End, JobError, Payload, PoolConfig, QueueConfig, Request, RetryPolicy, Runtime,
    ShutdownOptions, Verdict, WaitError,
};
use std::error::Error;
use std::time::Duration;

/// What does this article cost?
struct Price {
    article: &'static str,
    pieces: u64,
}

impl Payload for Price {}

impl Request for Price {
    /// In cents.
    type Answer = u64;
}

impl Price {
    fn of(article: &'static str, pieces: u64) -> Self {
        Price { article, pieces }
    }
}

/// The answer's type is the request's: `context.complete("cheap")` would not compile.
fn quote(price: &Price, context: &Context<Price>) -> Result<Verdict, JobError> {
    let cents = match price.article {
        "apple" => 30,
        // the list is not at hand the first time
        "pear" if context.attempt() == 1 => return Err(JobError::transient("no list yet")),
        "pear" => 45,
        "gold" => {
            while context.cancelled().is_none() {
                std::thread::sleep(Duration::from_millis(1)); // the market is closed
            }
            return Err(JobError::transient("nobody wants to know any more"));
        }
        unknown => return Err(JobError::fatal(format!("there is no {unknown}"))),
    };
    Ok(context.complete(cents * price.pieces))
}

fn show(outcome: &Completed<u64>) {
    let answer = outcome.answer.map(|cents| format!(", {cents} cents")).unwrap_or_default();
    let error = outcome.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
    println!("{}: {}{answer}{error}", outcome.job, outcome.end);
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Runtime::builder();
    let config =
        QueueConfig::new("prices").capacity(64).retry(RetryPolicy::new().max_attempts(3)).completed_records(100, Duration::from_secs(3600));
    let prices = builder.queue(config, quote)?;
    builder.pool(PoolConfig::new("default").workers(2))?;
    let runtime = builder.build()?;
    let producer = prices.producer()?;
    let ask = |article, pieces| producer.watched().publish(Price::of(article, pieces));

    // wait, for as long as it takes; a retry on the way is no end
    let mut pears: Completion<u64> = ask("pear", 4)?;
    let outcome = pears.wait()?;
    show(&outcome);
    assert_eq!((outcome.end, outcome.answer), (End::Acked, Some(180)));

    // wait with a deadline, then give up: the handler hears of it, and the handle of the end
    let mut gold = ask("gold", 1)?;
    assert_eq!(gold.wait_timeout(Duration::from_millis(20)).unwrap_err(), WaitError::TimedOut);
    assert!(gold.cancel());
    let outcome = gold.wait()?;
    show(&outcome);
    assert_eq!(outcome.end, End::Cancelled);

    // await, in any executor
    let futures = [ask("apple", 2)?, ask("unicorn", 1)?];
    let executor = tokio::runtime::Builder::new_current_thread().build()?;
    let outcomes = executor.block_on(async {
        let mut outcomes = Vec::new();
        for future in futures {
            outcomes.push(future.await?);
        }
        Ok::<_, WaitError>(outcomes)
    })?;
    outcomes.iter().for_each(show);
    assert_eq!(outcomes[0].answer, Some(60));
    assert_eq!(outcomes[1].end, End::DeadLettered(DeathReason::Rejected));
    assert_eq!(outcomes[1].error.as_deref(), Some("there is no unicorn"));

    // let go: the job runs all the same, and its record can be looked up
    let let_go = ask("apple", 1)?.job_id();
    let report = runtime.shutdown(ShutdownOptions::default());
    assert!(report.is_clean() && report.queue("prices").unwrap().ledger_balances());
    let record = prices.completed_job(let_go).expect("it has ended");
    println!("{let_go}: {}, {} attempt, as the record says", record.end, record.attempts);
    assert_eq!((record.end, prices.completed().len()), (End::Acked, 5));
    Ok(())
}
