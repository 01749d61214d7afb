//! What the mock providers do for a model, as its name says: words joined by dots, such as `cut3.i40`.

use std::time::Duration;

/// How long the first token of `slow-first` takes: longer than any limit that a fault is measured with.
const SLOW: Duration = Duration::from_secs(6);

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing (`ok`, and any name that says nothing else).
    #[default]
    None,
    /// This HTTP status instead of an answer (`e429`, `e500`).
    Status(u16),
    /// The first token comes late (`slow-first`).
    SlowFirst,
    /// The connection is cut after so many tokens (`cut3`).
    Cut(usize),
    /// An error object comes in the stream after so many tokens (`inband3`).
    InBand(usize),
    /// Something that is not JSON comes after so many tokens, then the rest (`broken3`).
    Broken(usize),
    /// Nothing more comes after so many tokens, and the connection stays open (`stall3`).
    Stall(usize),
}

/// What is done for one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// What goes wrong.
    pub fault: Fault,
    /// Wait before the first token (`f50`: 50 ms).
    pub first: Duration,
    /// Wait between tokens (`i40`: 40 ms).
    pub between: Duration,
    /// An answer of 120 KB instead of sixteen words (`big`).
    pub big: bool,
}

impl Behaviour {
    /// Reads a model's name.
    pub fn of(model: &str) -> Behaviour {
        let mut behaviour = Behaviour::default();
        for word in model.split('.') {
            let (name, number) = word.split_at(word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len()));
            let number: Option<u16> = number.parse().ok();
            match (name, number) {
                ("slow-first", None) => (behaviour.fault, behaviour.first) = (Fault::SlowFirst, SLOW),
                ("big", None) => behaviour.big = true,
                ("e", Some(status)) => behaviour.fault = Fault::Status(status),
                ("cut", Some(tokens)) => behaviour.fault = Fault::Cut(tokens.into()),
                ("inband", Some(tokens)) => behaviour.fault = Fault::InBand(tokens.into()),
                ("broken", Some(tokens)) => behaviour.fault = Fault::Broken(tokens.into()),
                ("stall", Some(tokens)) => behaviour.fault = Fault::Stall(tokens.into()),
                ("f", Some(ms)) => behaviour.first = Duration::from_millis(ms.into()),
                ("i", Some(ms)) => behaviour.between = Duration::from_millis(ms.into()),
                _ => {}
            }
        }
        behaviour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_done() {
        let ms = Duration::from_millis;
        for (name, expected) in [
            ("ok", Behaviour::default()),
            ("short", Behaviour::default()),
            ("e429", Behaviour { fault: Fault::Status(429), ..Behaviour::default() }),
            ("slow-first.i40", Behaviour { fault: Fault::SlowFirst, first: SLOW, between: ms(40), big: false }),
            ("cut3.f50.i40", Behaviour { fault: Fault::Cut(3), first: ms(50), between: ms(40), big: false }),
            ("inband3", Behaviour { fault: Fault::InBand(3), ..Behaviour::default() }),
            ("broken3", Behaviour { fault: Fault::Broken(3), ..Behaviour::default() }),
            ("stall16", Behaviour { fault: Fault::Stall(16), ..Behaviour::default() }),
            ("big", Behaviour { big: true, ..Behaviour::default() }),
        ] {
            assert_eq!(Behaviour::of(name), expected, "{name}");
        }
    }
}
