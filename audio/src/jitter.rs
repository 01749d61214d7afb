//! Puts numbered packets back in order (RTP sequence numbers, RFC 3550 section 5.1) and holds them for a fixed delay.
//!
//! It has no clock: whoever plays asks once a packet's time. It does not decode, nor adapt its delay.

/// Packets further ahead or behind than this are another stream: a sender that began anew.
const SLOTS: u16 = 128;

/// What to play next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout<T> {
    /// This packet.
    Packet(T),
    /// A packet that has not come while later ones have: conceal it.
    Lost,
    /// Nothing: the delay fills up.
    Waiting,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It will be played.
    Kept,
    /// Its turn has passed.
    Late,
    /// It was there already.
    Duplicate,
    /// It is so far off that all was dropped and it starts a new stream.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until the delay is reached; so many times was asked since the first packet came.
    Filling {
        asked: u16,
    },
    Playing,
}

/// A buffer of packets of type `T`.
#[derive(Clone, Debug)]
pub struct Jitter<T> {
    /// Slot n % SLOTS is for packet n.
    slots: Vec<Option<T>>,
    /// How many packets make up the delay.
    depth: u16,
    /// The number to play next, once the first packet has come.
    next: Option<u16>,
    held: u16,
    state: State,
}

impl<T> Jitter<T> {
    /// A buffer that delays by `delay_ms`, with packets of `packet_ms` (one at least); at most 64 packets of delay.
    pub fn new(delay_ms: u32, packet_ms: u32) -> Jitter<T> {
        let depth = delay_ms.div_ceil(packet_ms.max(1)).clamp(1, u32::from(SLOTS) / 2) as u16;
        Jitter { slots: (0..SLOTS).map(|_| None).collect(), depth, next: None, held: 0, state: State::Filling { asked: 0 } }
    }

    /// Takes a packet as it comes.
    pub fn push(&mut self, number: u16, packet: T) -> Arrival {
        let next = *self.next.get_or_insert(number);
        // Numbers wrap around: the distance is a signed one.
        let ahead = number.wrapping_sub(next) as i16;
        if ahead.unsigned_abs() >= SLOTS {
            self.clear();
            self.next = Some(number);
            self.put(number, packet);
            return Arrival::Restart;
        }
        if ahead < 0 {
            // Before anything is played an earlier packet can still be the first, unless it would push the last one out.
            let room = self.slots.len() as i16 - self.span() as i16;
            if self.state == State::Playing || -ahead > room {
                return Arrival::Late;
            }
            self.next = Some(number);
        }
        if self.slots[usize::from(number % SLOTS)].is_some() {
            return Arrival::Duplicate;
        }
        self.put(number, packet);
        Arrival::Kept
    }

    fn put(&mut self, number: u16, packet: T) {
        self.slots[usize::from(number % SLOTS)] = Some(packet);
        self.held += 1;
    }

    /// From the next packet to the last one held, both counted.
    fn span(&self) -> u16 {
        let Some(next) = self.next else { return 0 };
        (0..SLOTS).rev().find(|ahead| self.slots[usize::from(next.wrapping_add(*ahead) % SLOTS)].is_some()).map_or(0, |ahead| ahead + 1)
    }

    /// What to play now; to be asked once a packet's time.
    pub fn pop(&mut self) -> Playout<T> {
        let Some(next) = self.next else { return Playout::Waiting };
        if let State::Filling { asked } = self.state {
            // A sender that fell silent while the delay filled up is played after the same time.
            if self.held == 0 || (self.span() < self.depth && asked + 1 < self.depth) {
                self.state = State::Filling { asked: if self.held == 0 { 0 } else { asked + 1 } };
                return Playout::Waiting;
            }
            self.state = State::Playing;
        }
        if self.held == 0 {
            self.state = State::Filling { asked: 0 };
            return Playout::Waiting;
        }
        self.next = Some(next.wrapping_add(1));
        match self.slots[usize::from(next % SLOTS)].take() {
            Some(packet) => {
                self.held -= 1;
                Playout::Packet(packet)
            }
            None => Playout::Lost,
        }
    }

    /// The packet to play next, where it is there: after a lost one, the packet that may carry a copy of it.
    pub fn peek(&self) -> Option<&T> {
        self.slots[usize::from(self.next? % SLOTS)].as_ref()
    }

    /// How many packets are held.
    pub fn held(&self) -> usize {
        usize::from(self.held)
    }

    /// Forgets everything: the next packet starts a stream.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = None);
        (self.next, self.held, self.state) = (None, 0, State::Filling { asked: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A script of arrivals (numbers) and of `.`, one question each; what is played: numbers, `x` lost, `-` nothing.
    fn check(script: &str, expected: &str) {
        let mut jitter = Jitter::new(60, 20);
        let mut played = Vec::new();
        for step in script.split_whitespace() {
            if step == "." {
                played.push(match jitter.pop() {
                    Playout::Packet(number) => format!("{number}"),
                    Playout::Lost => "x".to_owned(),
                    Playout::Waiting => "-".to_owned(),
                });
            } else {
                let number: u16 = step.parse().expect("a number");
                jitter.push(number, number);
            }
        }
        assert_eq!(played.join(" "), expected, "{script}");
    }

    #[test]
    fn playing() {
        check(". . 1 . 2 . 3 . 4 . 5 .", "- - - - 1 2 3");
        check("1 2 3 . . .", "1 2 3");
        check("3 1 2 . . .", "1 2 3");
        check("1 1 2 2 3 . . . .", "1 2 3 -");
        check("1 3 4 . . . .", "1 x 3 4");
        check("1 2 4 . . 3 . .", "1 2 3 4");
        check("1 2 4 . . . 3 . .", "1 2 x 4 -");
        check("65534 65535 0 1 . . . .", "65534 65535 0 1");
        check("1 . . . .", "- - 1 -");
        check("1 2 3 . . . . 5 6 7 . . .", "1 2 3 - x 5 6");
        check("1 2 3 . 9000 9001 9002 . .", "1 9000 9001");
    }

    #[test]
    fn the_packet_after_a_lost_one_can_be_looked_at() {
        let mut jitter = Jitter::new(60, 20);
        assert_eq!(jitter.peek(), None);
        for number in [1u16, 3, 4] {
            jitter.push(number, number);
        }
        for (played, after) in [(Playout::Packet(1), None), (Playout::Lost, Some(3)), (Playout::Packet(3), Some(4))] {
            assert_eq!((jitter.pop(), jitter.peek().copied()), (played, after));
        }
    }

    #[test]
    fn arrivals_are_named() {
        let mut jitter = Jitter::new(20, 20);
        for (number, expected) in [(5, Arrival::Kept), (5, Arrival::Duplicate), (4, Arrival::Kept)] {
            assert_eq!(jitter.push(number, ()), expected, "{number}");
        }
        jitter.pop();
        for (number, expected) in [(4, Arrival::Late), (6, Arrival::Kept), (40_000, Arrival::Restart)] {
            assert_eq!(jitter.push(number, ()), expected, "{number}");
        }
        assert_eq!(jitter.held(), 1);
    }

    proptest! {
        #[test]
        fn any_arrivals_play_in_order_within_bounds(steps in prop::collection::vec(prop::option::of(any::<u16>()), 0..400), near in any::<bool>()) {
            let mut jitter = Jitter::new(100, 20);
            let mut kept = 0i64;
            for step in steps {
                match step {
                    Some(number) => {
                        let number = if near { number % 40 } else { number };
                        match jitter.push(number, number) {
                            Arrival::Kept => kept += 1,
                            Arrival::Restart => kept = 1,
                            Arrival::Late | Arrival::Duplicate => {}
                        }
                    }
                    None => kept -= i64::from(matches!(jitter.pop(), Playout::Packet(_))),
                }
                prop_assert_eq!(jitter.held() as i64, kept);
                prop_assert!(jitter.held() <= usize::from(SLOTS));
            }
        }

        #[test]
        fn shuffled_neighbours_come_out_sorted(start in any::<u16>(), swaps in prop::collection::vec(any::<bool>(), 20)) {
            let mut numbers: Vec<u16> = (0..21).map(|i| start.wrapping_add(i)).collect();
            for (i, swap) in swaps.iter().enumerate() {
                if *swap {
                    numbers.swap(i, i + 1);
                }
            }
            let first = start;
            let mut jitter = Jitter::new(1_280, 20);
            numbers.iter().for_each(|&number| {
                jitter.push(number, number);
            });
            let mut played = Vec::new();
            for _ in 0..200 {
                if let Playout::Packet(number) = jitter.pop() {
                    played.push(number);
                }
            }
            let expected: Vec<u16> = (0..21).map(|i| first.wrapping_add(i)).collect();
            prop_assert_eq!(played, expected);
        }
    }
}
