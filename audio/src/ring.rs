//! A ring of sound between two threads. The writer never waits; a reader that falls behind loses the oldest sound, and it is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::Samples;

/// A ring that keeps the newest `capacity` of sound. It stores twice that, so that the reader, not the writer, drops what is too old
/// and neither takes a lock. A reader that stays away for longer still finds nothing old: all stored is dropped and it is live again.
pub fn ring(capacity: Samples) -> (RingWriter, RingReader) {
    let capacity = (capacity.0 as usize).max(1);
    let (producer, consumer) = HeapRb::new(capacity * 2).split();
    let lost = Arc::new(AtomicU64::new(0));
    (RingWriter { producer, lost: lost.clone() }, RingReader { consumer, lost, seen: 0, capacity, dropped: 0 })
}

/// The end that sound is put into.
pub struct RingWriter {
    producer: HeapProd<f32>,
    /// Samples that found no room at all.
    lost: Arc<AtomicU64>,
}

impl RingWriter {
    /// Puts sound in; what does not fit is lost and counted.
    pub fn push(&mut self, pcm: &[f32]) {
        let fitted = self.producer.push_slice(pcm);
        if fitted < pcm.len() {
            self.lost.fetch_add((pcm.len() - fitted) as u64, Ordering::Release);
        }
    }
}

/// The end that sound is taken from.
pub struct RingReader {
    consumer: HeapCons<f32>,
    lost: Arc<AtomicU64>,
    /// Of `lost`, how many are counted in `dropped` already.
    seen: u64,
    capacity: usize,
    dropped: u64,
}

impl RingReader {
    /// Fills the front of `out` with the oldest sound that is kept, and says how much it was.
    pub fn pop(&mut self, out: &mut [f32]) -> usize {
        self.drop_oldest();
        self.consumer.pop_slice(out)
    }

    fn drop_oldest(&mut self) {
        let lost = self.lost.load(Ordering::Acquire);
        if lost != self.seen {
            // There is a hole between what is stored and what comes next; play what comes next.
            self.dropped += lost - self.seen + self.consumer.clear() as u64;
            self.seen = lost;
        }
        let surplus = self.consumer.occupied_len().saturating_sub(self.capacity);
        self.dropped += self.consumer.skip(surplus) as u64;
    }

    /// How much sound waits.
    pub fn waiting(&self) -> Samples {
        Samples(self.consumer.occupied_len().min(self.capacity) as u64)
    }

    /// How much sound was dropped since the start, as far as the reader has noticed.
    pub fn dropped(&self) -> Samples {
        Samples(self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_goes_first() {
        let (mut writer, mut reader) = ring(Samples(4));
        let mut out = [0.0; 8];
        writer.push(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(reader.waiting(), Samples(4));
        assert_eq!(reader.pop(&mut out), 4);
        assert_eq!((&out[..4], reader.dropped()), (&[3.0, 4.0, 5.0, 6.0][..], Samples(2)));
    }

    #[test]
    fn a_reader_that_was_away_is_live_again() {
        let (mut writer, mut reader) = ring(Samples(4));
        let mut out = [0.0; 8];
        writer.push(&[1.0; 20]);
        assert_eq!((reader.pop(&mut out), reader.dropped()), (0, Samples(20)));
        writer.push(&[2.0]);
        assert_eq!((reader.pop(&mut out), out[0]), (1, 2.0));
    }

    proptest! {
        #[test]
        fn every_sample_is_read_in_order_or_counted(steps in prop::collection::vec((0usize..30, 0usize..30), 1..60), capacity in 1u64..40) {
            let (mut writer, mut reader) = ring(Samples(capacity));
            let (mut next, mut read, mut last) = (0u64, 0u64, -1.0);
            for (write, take) in steps {
                let piece: Vec<f32> = (next..next + write as u64).map(|i| i as f32).collect();
                next += write as u64;
                writer.push(&piece);
                let mut out = vec![0.0; take];
                let got = reader.pop(&mut out);
                read += got as u64;
                for &sample in &out[..got] {
                    prop_assert!(sample > last);
                    last = sample;
                }
                prop_assert_eq!(read + reader.dropped().0 + reader.waiting().0, next);
            }
        }
    }

    #[test]
    fn two_threads_share_it() {
        let (mut writer, mut reader) = ring(Samples(64));
        let total = 100_000u32;
        let sender = std::thread::spawn(move || (0..total).for_each(|i| writer.push(&[i as f32])));
        let (mut last, mut out) = (-1.0, [0.0; 32]);
        loop {
            let done = sender.is_finished();
            let got = reader.pop(&mut out);
            for &sample in &out[..got] {
                assert!(sample > last);
                last = sample;
            }
            if done && got == 0 {
                break;
            }
        }
        sender.join().expect("the writer ends");
    }
}
