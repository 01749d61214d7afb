//! Puts numbered packets back in order (RTP sequence numbers, RFC 3550 section 5.1) for a listener that needs no steady pace.
//!
//! A recogniser takes sound as fast as it comes: what is in order goes on at once, and only a packet that is missing while later ones
//! are there is waited for. A buffer for a loudspeaker would delay every packet by as much as the latest one. It has no clock: whoever
//! listens says when a packet's time has passed. It does not decode.

/// Packets further ahead or behind than this are another stream: a sender that began anew.
const SLOTS: u16 = 128;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout<T> {
    /// This packet.
    Packet(T),
    /// A packet that was waited for and has not come: conceal it.
    Lost,
    /// Nothing yet.
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

#[derive(Clone, Debug)]
struct Slot<T> {
    packet: T,
    /// The tick it came at.
    came: u32,
}

/// A buffer of packets of type `T`.
#[derive(Clone, Debug)]
pub struct Jitter<T> {
    /// Slot n % SLOTS is for packet n.
    slots: Vec<Option<Slot<T>>>,
    /// For how many ticks a packet is waited for once a later one is there.
    patience: u32,
    /// The number to play next, once the first packet has come.
    next: Option<u16>,
    held: u16,
    /// Ticks so far; wraps around.
    now: u32,
}

impl<T> Jitter<T> {
    /// A buffer that waits `patience_ms` for what is missing, with packets of `packet_ms` (one at least).
    pub fn new(patience_ms: u32, packet_ms: u32) -> Jitter<T> {
        let patience = patience_ms.div_ceil(packet_ms.max(1));
        Jitter { slots: (0..SLOTS).map(|_| None).collect(), patience, next: None, held: 0, now: 0 }
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
            return Arrival::Late;
        }
        if self.slots[usize::from(number % SLOTS)].is_some() {
            return Arrival::Duplicate;
        }
        self.put(number, packet);
        Arrival::Kept
    }

    fn put(&mut self, number: u16, packet: T) {
        self.slots[usize::from(number % SLOTS)] = Some(Slot { packet, came: self.now });
        self.held += 1;
    }

    /// A packet's time has passed.
    pub fn tick(&mut self) {
        self.now = self.now.wrapping_add(1);
    }

    /// What comes next; to be asked until it is [`Playout::Waiting`], after each packet and each tick.
    pub fn pop(&mut self) -> Playout<T> {
        let Some(next) = self.next else { return Playout::Waiting };
        if let Some(slot) = self.slots[usize::from(next % SLOTS)].take() {
            self.held -= 1;
            self.next = Some(next.wrapping_add(1));
            return Playout::Packet(slot.packet);
        }
        if self.waited().is_none_or(|waited| waited < self.patience) {
            return Playout::Waiting;
        }
        self.next = Some(next.wrapping_add(1));
        Playout::Lost
    }

    /// For how many ticks the first packet that is held has waited for the one that is missing before it.
    fn waited(&self) -> Option<u32> {
        if self.held == 0 {
            return None;
        }
        let next = self.next?;
        let first = (0..SLOTS).find_map(|ahead| self.slots[usize::from(next.wrapping_add(ahead) % SLOTS)].as_ref())?;
        Some(self.now.wrapping_sub(first.came))
    }

    /// The packet that comes next, where it is there: after a lost one, the packet that may carry a copy of it.
    pub fn peek(&self) -> Option<&T> {
        self.slots[usize::from(self.next? % SLOTS)].as_ref().map(|slot| &slot.packet)
    }

    /// How many packets are held.
    pub fn held(&self) -> usize {
        usize::from(self.held)
    }

    /// Forgets everything: the next packet starts a stream.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = None);
        (self.next, self.held) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(jitter: &mut Jitter<u16>, played: &mut Vec<String>) {
        loop {
            played.push(match jitter.pop() {
                Playout::Packet(number) => format!("{number}"),
                Playout::Lost => "x".to_owned(),
                Playout::Waiting => return,
            });
        }
    }

    /// A script of arrivals (numbers) and of `.`, one tick each; what is played: numbers, `x` lost; `.` where the ticks were.
    fn check(script: &str, expected: &str) {
        let mut jitter = Jitter::new(60, 20);
        let mut played = Vec::new();
        for step in script.split_whitespace() {
            if step == "." {
                played.push(".".to_owned());
                jitter.tick();
            } else {
                let number: u16 = step.parse().expect("a number");
                jitter.push(number, number);
            }
            drain(&mut jitter, &mut played);
        }
        assert_eq!(played.join(" "), expected, "{script}");
    }

    #[test]
    fn what_is_in_order_goes_on_at_once() {
        check(". 1 . 2 . . 3 4 5 .", ". 1 . 2 . . 3 4 5 .");
        check("65534 65535 0 1", "65534 65535 0 1");
        check("1 1 2 2 1", "1 2");
    }

    #[test]
    fn what_is_missing_is_waited_for_once_later_packets_are_there() {
        check("1 . 3 . 2 . 4", "1 . . 2 3 . 4");
        check("1 . 3 . 4 . 5 . 6", "1 . . . . x 3 4 5 6");
        check("1 . 3 . . . 2 4", "1 . . . . x 3 4");
        check("1 . . . . . . 3 . 2", "1 . . . . . . . 2 3");
        check("1 4 . . .", "1 . . . x x 4");
        // Each that is missing has its own time.
        check("1 3 . 5 . . . .", "1 . . . x 3 . x 5 .");
        // So far off that it is another stream.
        check("1 3 9000 9001 .", "1 9000 9001 .");
    }

    #[test]
    fn the_packet_after_a_lost_one_can_be_looked_at() {
        let mut jitter = Jitter::new(0, 20);
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
        for (number, expected) in [(5, Arrival::Kept), (5, Arrival::Duplicate), (4, Arrival::Late), (7, Arrival::Kept)] {
            assert_eq!(jitter.push(number, ()), expected, "{number}");
        }
        jitter.pop();
        for (number, expected) in [(5, Arrival::Late), (6, Arrival::Kept), (40_000, Arrival::Restart)] {
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
                    None => jitter.tick(),
                }
                kept -= i64::from(matches!(jitter.pop(), Playout::Packet(_)));
                prop_assert_eq!(jitter.held() as i64, kept);
                prop_assert!(jitter.held() <= usize::from(SLOTS));
            }
        }

        #[test]
        fn shuffled_neighbours_come_out_sorted(start in any::<u16>(), swaps in prop::collection::vec(any::<bool>(), 20)) {
            let mut numbers: Vec<u16> = (0..21).map(|i| start.wrapping_add(i)).collect();
            // The first one starts the stream.
            for (i, swap) in swaps.iter().enumerate().skip(1) {
                if *swap {
                    numbers.swap(i, i + 1);
                }
            }
            let (mut jitter, mut played) = (Jitter::new(1_280, 20), Vec::new());
            for number in numbers {
                jitter.push(number, number);
                jitter.tick();
                drain(&mut jitter, &mut played);
            }
            let expected: Vec<String> = (0..21).map(|i| start.wrapping_add(i).to_string()).collect();
            prop_assert_eq!(played, expected);
        }
    }
}
