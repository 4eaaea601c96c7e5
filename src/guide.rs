//! The pages of `docs/`, for reading beside the reference, and so that their snippets are tests. Links between pages lead to the files of the repository.

#[doc = include_str!("../docs/index.md")]
pub mod index {}

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/memory-ordering.md")]
pub mod memory_ordering {}

#[doc = include_str!("../docs/glossary.md")]
pub mod glossary {}

#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/benchmarks.md")]
pub mod benchmarks {}

#[doc = include_str!("../docs/topology.md")]
pub mod topology {}

// ---- the guide: coming from elsewhere, and questions that everybody has ----

#[doc = include_str!("../docs/guide/celery.md")]
pub mod from_celery {}

#[doc = include_str!("../docs/guide/bullmq.md")]
pub mod from_bullmq {}

#[doc = include_str!("../docs/guide/asynq.md")]
pub mod from_asynq {}

#[doc = include_str!("../docs/guide/rabbitmq.md")]
pub mod from_rabbitmq {}

#[doc = include_str!("../docs/guide/channels.md")]
pub mod from_channels {}

#[doc = include_str!("../docs/guide/priorities.md")]
pub mod priorities {}

#[doc = include_str!("../docs/guide/prefetch.md")]
pub mod prefetch {}

#[doc = include_str!("../docs/guide/idempotent.md")]
pub mod idempotent_handlers {}

#[cfg(feature = "test-util")]
#[doc = include_str!("../docs/guide/testing-your-service.md")]
pub mod testing_your_service {}

#[doc = include_str!("../docs/guide/model-checking.md")]
pub mod model_checking {}
