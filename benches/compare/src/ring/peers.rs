//! The peers, each as its users would use it: queues that have no waiting are polled, channels block.

use super::queue::{Consumer, Producer, Queue, Taken};
use super::{CAPACITY, CHUNK};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

// ---- queues that do not wait ----

/// A shared queue behind an `Arc`: how it is made, pushed to and popped from.
macro_rules! shared {
    ($name:ident, $queue:ty, $open:expr, |$push:ident, $item:ident| $pushed:expr, |$pop:ident| $popped:expr) => {
        pub struct $name;

        const _: () = {
            #[derive(Clone)]
            pub struct Handle(Arc<$queue>);

            impl Queue for $name {
                type Producer = Handle;
                type Consumer = Handle;

                fn open(producers: usize, consumers: usize) -> (Vec<Handle>, Vec<Handle>) {
                    let handle = Handle(Arc::new($open));
                    (vec![handle.clone(); producers], vec![handle; consumers])
                }
            }

            impl Producer for Handle {
                #[inline]
                fn push(&mut self, $item: u64, _: u64) -> u64 {
                    let $push = &*self.0;
                    u64::from($pushed)
                }
            }

            impl Consumer for Handle {
                #[inline]
                fn pop(&mut self) -> Taken {
                    let $pop = &*self.0;
                    Taken::one($popped)
                }
            }
        };
    };
}

shared!(
    ArrayQueue,
    crossbeam_queue::ArrayQueue<u64>,
    crossbeam_queue::ArrayQueue::new(CAPACITY),
    |queue, item| queue.push(item).is_ok(),
    |queue| queue.pop()
);
shared!(
    ConcurrentQueue,
    concurrent_queue::ConcurrentQueue<u64>,
    concurrent_queue::ConcurrentQueue::bounded(CAPACITY),
    |queue, item| queue.push(item).is_ok(),
    |queue| queue.pop().ok()
);
shared!(ThingBuf, thingbuf::ThingBuf<u64>, thingbuf::ThingBuf::new(CAPACITY), |queue, item| queue.push(item).is_ok(), |queue| queue.pop());
shared!(
    Locked,
    Mutex<VecDeque<u64>>,
    Mutex::new(VecDeque::with_capacity(CAPACITY)),
    |queue, item| {
        let mut queue = queue.lock().expect("nobody panics inside");
        let room = queue.len() < CAPACITY;
        if room {
            queue.push_back(item);
        }
        room
    },
    |queue| queue.lock().expect("nobody panics inside").pop_front()
);

// ---- channels ----

/// A channel: how it is opened, and its four ways to move an item.
macro_rules! channel {
    (
        $name:ident, $sender:ty, $receiver:ty, $open:expr, cloned: $cloned:tt,
        |$send:ident, $item:ident| $sent:expr, |$try_send:ident, $try_item:ident| $tried:expr,
        |$recv:ident| $received:expr, |$try_recv:ident| $polled:expr
    ) => {
        pub struct $name;

        const _: () = {
            pub struct Sender($sender);
            pub struct Receiver($receiver);

            impl From<$sender> for Sender {
                fn from(sender: $sender) -> Self {
                    Sender(sender)
                }
            }

            impl Queue for $name {
                type Producer = Sender;
                type Consumer = Receiver;

                fn open(producers: usize, consumers: usize) -> (Vec<Sender>, Vec<Receiver>) {
                    let (sender, receiver) = $open;
                    let senders = std::iter::repeat_n(sender, producers).map(Sender).collect();
                    (senders, channel!(@receivers $cloned, receiver, consumers))
                }
            }

            impl Producer for Sender {
                #[inline]
                fn push(&mut self, $item: u64, _: u64) -> u64 {
                    let $send = &self.0;
                    assert!($sent, "the receivers outlive the senders");
                    1
                }

                fn try_push(&mut self, $try_item: u64) -> bool {
                    let $try_send = &self.0;
                    $tried
                }
            }

            impl Consumer for Receiver {
                #[inline]
                fn pop(&mut self) -> Taken {
                    let $recv = &mut self.0;
                    $received.map_or(Taken::Closed, |item| Taken::one(Some(item)))
                }

                fn try_pop(&mut self) -> Taken {
                    let $try_recv = &mut self.0;
                    Taken::one($polled)
                }
            }
        };
    };
    (@receivers yes, $receiver:ident, $consumers:ident) => {
        std::iter::repeat_n($receiver, $consumers).map(Receiver).collect()
    };
    (@receivers no, $receiver:ident, $consumers:ident) => {{
        assert_eq!($consumers, 1, "it has one receiver");
        vec![Receiver($receiver)]
    }};
}

channel!(
    Crossbeam, crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>, crossbeam_channel::bounded(CAPACITY), cloned: yes,
    |channel, item| channel.send(item).is_ok(), |channel, item| channel.try_send(item).is_ok(),
    |channel| channel.recv().ok(), |channel| channel.try_recv().ok()
);
channel!(
    Flume, flume::Sender<u64>, flume::Receiver<u64>, flume::bounded(CAPACITY), cloned: yes,
    |channel, item| channel.send(item).is_ok(), |channel, item| channel.try_send(item).is_ok(),
    |channel| channel.recv().ok(), |channel| channel.try_recv().ok()
);
channel!(
    Kanal, kanal::Sender<u64>, kanal::Receiver<u64>, kanal::bounded(CAPACITY), cloned: yes,
    |channel, item| channel.send(item).is_ok(), |channel, item| channel.try_send(item).is_ok_and(|sent| sent),
    |channel| channel.recv().ok(), |channel| channel.try_recv().ok().flatten()
);
channel!(
    Crossfire, crossfire::MTx<crossfire::mpmc::Array<u64>>, crossfire::MRx<crossfire::mpmc::Array<u64>>,
    crossfire::mpmc::bounded_blocking(CAPACITY), cloned: yes,
    |channel, item| channel.send(item).is_ok(), |channel, item| channel.try_send(item).is_ok(),
    |channel| channel.recv().ok(), |channel| channel.try_recv().ok()
);
channel!(
    AsyncChannel, async_channel::Sender<u64>, async_channel::Receiver<u64>, async_channel::bounded(CAPACITY), cloned: yes,
    |channel, item| channel.send_blocking(item).is_ok(), |channel, item| channel.try_send(item).is_ok(),
    |channel| channel.recv_blocking().ok(), |channel| channel.try_recv().ok()
);
channel!(
    StdSync, std::sync::mpsc::SyncSender<u64>, std::sync::mpsc::Receiver<u64>, std::sync::mpsc::sync_channel(CAPACITY), cloned: no,
    |channel, item| channel.send(item).is_ok(), |channel, item| channel.try_send(item).is_ok(),
    |channel| channel.recv().ok(), |channel| channel.try_recv().ok()
);
channel!(
    Tokio, tokio::sync::mpsc::Sender<u64>, tokio::sync::mpsc::Receiver<u64>, tokio::sync::mpsc::channel(CAPACITY), cloned: no,
    |channel, item| channel.blocking_send(item).is_ok(), |channel, item| channel.try_send(item).is_ok(),
    |channel| channel.blocking_recv(), |channel| channel.try_recv().ok()
);

// ---- in chunks ----

/// kanal, whose receiver can take everything there is at once.
pub struct KanalDrain;

pub struct Drain {
    receiver: kanal::Receiver<u64>,
    taken: Vec<u64>,
}

impl Queue for KanalDrain {
    type Producer = <Kanal as Queue>::Producer;
    type Consumer = Drain;

    fn open(producers: usize, consumers: usize) -> (Vec<Self::Producer>, Vec<Drain>) {
        let (sender, receiver) = kanal::bounded(CAPACITY);
        let drain = |receiver| Drain { receiver, taken: Vec::with_capacity(CAPACITY) };
        let senders = std::iter::repeat_n(sender, producers).map(Self::Producer::from);
        (senders.collect(), std::iter::repeat_n(receiver, consumers).map(drain).collect())
    }
}

impl Consumer for Drain {
    #[inline]
    fn pop(&mut self) -> Taken {
        self.taken.clear();
        match self.receiver.drain_into(&mut self.taken) {
            Ok(0) => self.receiver.recv().map_or(Taken::Closed, |item| Taken::one(Some(item))),
            Ok(count) => Taken::Some { count: count as u64, sum: self.taken.iter().fold(0, |sum, item| sum.wrapping_add(*item)) },
            Err(_) => Taken::Closed,
        }
    }
}

/// The disruptor with several producers allowed, `BATCH` at a time. Every consumer sees every item, so there is only one.
pub struct DisruptorMulti<const BATCH: usize>;

pub struct Publisher<const BATCH: usize>(disruptor::MultiProducer<u64, disruptor::SingleConsumerBarrier>);
pub struct Poller<const BATCH: usize>(disruptor::EventPoller<u64, disruptor::MultiProducerBarrier>);

impl<const BATCH: usize> Queue for DisruptorMulti<BATCH> {
    type Producer = Publisher<BATCH>;
    type Consumer = Poller<BATCH>;

    fn open(producers: usize, consumers: usize) -> (Vec<Publisher<BATCH>>, Vec<Poller<BATCH>>) {
        assert_eq!(consumers, 1, "every consumer would see every item");
        let builder = disruptor::build_multi_producer(CAPACITY, || 0, disruptor::BusySpin);
        let (poller, builder) = builder.new_event_poller();
        let publisher = builder.build();
        ((0..producers).map(|_| Publisher(publisher.clone())).collect(), vec![Poller(poller)])
    }
}

impl<const BATCH: usize> Producer for Publisher<BATCH> {
    #[inline]
    fn push(&mut self, from: u64, to: u64) -> u64 {
        use disruptor::Producer;
        let count = (to - from).min(BATCH as u64);
        let pushed = if count == 1 {
            self.0.try_publish(|slot| *slot = from).is_ok()
        } else {
            self.0.try_batch_publish(count as usize, |slots| slots.zip(from..).for_each(|(slot, item)| *slot = item)).is_ok()
        };
        if pushed { count } else { 0 }
    }
}

impl<const BATCH: usize> Consumer for Poller<BATCH> {
    #[inline]
    fn pop(&mut self) -> Taken {
        match self.0.poll() {
            Ok(mut events) => {
                let (count, sum) = (&mut events).fold((0, 0u64), |(count, sum), item| (count + 1, sum.wrapping_add(*item)));
                Taken::Some { count, sum }
            }
            Err(disruptor::Polling::NoEvents) => Taken::Nothing,
            Err(disruptor::Polling::Shutdown) => Taken::Closed,
        }
    }
}

/// rtrb: one producer, one consumer.
pub struct Rtrb;
/// rtrb in chunks.
pub struct RtrbChunks;

pub struct RtrbProducer(rtrb::Producer<u64>);
pub struct RtrbConsumer(rtrb::Consumer<u64>);
pub struct RtrbChunksProducer(rtrb::Producer<u64>);
pub struct RtrbChunksConsumer(rtrb::Consumer<u64>);

impl Queue for Rtrb {
    type Producer = RtrbProducer;
    type Consumer = RtrbConsumer;

    fn open(producers: usize, consumers: usize) -> (Vec<RtrbProducer>, Vec<RtrbConsumer>) {
        assert_eq!((producers, consumers), (1, 1), "it has one of each");
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
        (vec![RtrbProducer(producer)], vec![RtrbConsumer(consumer)])
    }
}

impl Producer for RtrbProducer {
    #[inline]
    fn push(&mut self, from: u64, _: u64) -> u64 {
        u64::from(self.0.push(from).is_ok())
    }
}

impl Consumer for RtrbConsumer {
    #[inline]
    fn pop(&mut self) -> Taken {
        Taken::one(self.0.pop().ok())
    }
}

impl Queue for RtrbChunks {
    type Producer = RtrbChunksProducer;
    type Consumer = RtrbChunksConsumer;

    fn open(producers: usize, consumers: usize) -> (Vec<RtrbChunksProducer>, Vec<RtrbChunksConsumer>) {
        assert_eq!((producers, consumers), (1, 1), "it has one of each");
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
        (vec![RtrbChunksProducer(producer)], vec![RtrbChunksConsumer(consumer)])
    }
}

impl Producer for RtrbChunksProducer {
    #[inline]
    fn push(&mut self, from: u64, to: u64) -> u64 {
        let count = (to - from).min(CHUNK as u64) as usize;
        match self.0.write_chunk_uninit(count) {
            Ok(chunk) => chunk.fill_from_iter(from..to) as u64,
            Err(_) => 0,
        }
    }
}

impl Consumer for RtrbChunksConsumer {
    #[inline]
    fn pop(&mut self) -> Taken {
        let count = self.0.slots().min(CHUNK);
        match self.0.read_chunk(count) {
            Ok(chunk) if count > 0 => {
                let (first, second) = chunk.as_slices();
                let sum = first.iter().chain(second).fold(0u64, |sum, item| sum.wrapping_add(*item));
                chunk.commit_all();
                Taken::Some { count: count as u64, sum }
            }
            _ => Taken::Nothing,
        }
    }
}
