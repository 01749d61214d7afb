//! Chunks that may come out of order, put in order by their numbers.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Chunks that wait for one before them: 100 ms of them, then it is taken for lost.
const MOST_WAITING: usize = 5;

/// Chunks on their way.
#[derive(Default)]
pub(super) struct Reorder {
    /// The number that comes next; `None` before the first.
    next: Option<u64>,
    waiting: BTreeMap<u64, Bytes>,
}

impl Reorder {
    /// Takes a chunk, and hands out those whose turn it is. One that comes twice, or after its turn, is dropped.
    pub(super) fn push(&mut self, number: u64, chunk: Bytes, mut emit: impl FnMut(Bytes)) {
        let next = self.next.get_or_insert(number);
        if number < *next {
            return;
        }
        self.waiting.entry(number).or_insert(chunk);
        if self.waiting.len() > MOST_WAITING
            && let Some(first) = self.waiting.keys().next()
        {
            *next = *first;
        }
        while let Some(chunk) = self.waiting.remove(next) {
            *next = next.saturating_add(1);
            emit(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(came: &[u64], expected: &[u64]) {
        let mut reorder = Reorder::default();
        let mut out = Vec::new();
        for number in came {
            reorder.push(*number, Bytes::from(vec![*number as u8]), |chunk| out.push(u64::from(chunk[0])));
        }
        assert_eq!(out, expected, "{came:?}");
    }

    #[test]
    fn chunks_are_put_in_order() {
        check(&[1, 2, 3], &[1, 2, 3]);
        check(&[1, 3, 2, 5, 4], &[1, 2, 3, 4, 5]);
        check(&[7, 6, 8, 8, 7], &[7, 8]);
        check(&[1, 3, 4, 5, 6, 7, 8, 2], &[1, 3, 4, 5, 6, 7, 8]);
    }

    proptest! {
        #[test]
        fn what_comes_out_rises_and_nothing_near_is_lost(numbers in prop::collection::vec(0_u64..40, 0..200)) {
            let mut reorder = Reorder::default();
            let mut out: Vec<u64> = Vec::new();
            for number in numbers {
                reorder.push(number, Bytes::from(vec![number as u8]), |chunk| out.push(u64::from(chunk[0])));
                prop_assert!(reorder.waiting.len() <= MOST_WAITING);
            }
            prop_assert!(out.is_sorted_by(|a, b| a < b), "{out:?}");
        }
    }
}
