//! English number words. Hyphens join tens and ones; no "and" is written, for the reader of numbers leaves it out.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 13] = [
    "",
    "thousand",
    "million",
    "billion",
    "trillion",
    "quadrillion",
    "quintillion",
    "sextillion",
    "septillion",
    "octillion",
    "nonillion",
    "decillion",
    "undecillion",
];

/// One digit's name.
pub(super) fn digit(digit: char) -> &'static str {
    digit.to_digit(10).map_or("", |d| ONES[d as usize])
}

/// "one thousand two hundred thirty-four".
pub(super) fn cardinal(number: u128) -> String {
    if number == 0 {
        return ONES[0].to_owned();
    }
    let mut words = Vec::new();
    let mut groups = Vec::new();
    let mut rest = number;
    while rest > 0 {
        groups.push((rest % 1000) as usize);
        rest /= 1000;
    }
    for (scale, group) in groups.iter().enumerate().rev().filter(|(_, group)| **group > 0) {
        if group / 100 > 0 {
            words.push(ONES[group / 100].to_owned());
            words.push("hundred".to_owned());
        }
        match group % 100 {
            0 => {}
            below @ 1..20 => words.push(ONES[below].to_owned()),
            below if below % 10 == 0 => words.push(TENS[below / 10].to_owned()),
            below => words.push(format!("{}-{}", TENS[below / 10], ONES[below % 10])),
        }
        if scale > 0 {
            words.push(SCALES[scale].to_owned());
        }
    }
    words.join(" ")
}

/// "twenty-third", "one hundred first".
pub(super) fn ordinal(number: u128) -> String {
    let words = cardinal(number);
    let cut = words.rfind([' ', '-']).map_or(0, |at| at + 1);
    let last = match &words[cut..] {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        word => match word.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{word}th"),
        },
    };
    words[..cut].to_owned() + &last
}

/// As a year is read: "nineteen oh-five", "two thousand five", "twenty ten".
pub(super) fn year(number: u16) -> String {
    let (high, low) = (number / 100, number % 100);
    if high == 0 || (high % 10 == 0 && low < 10) || high >= 100 {
        return cardinal(number.into());
    }
    let low = match low {
        0 => "hundred".to_owned(),
        1..10 => format!("oh-{}", ONES[low as usize]),
        _ => cardinal(low.into()),
    };
    format!("{} {low}", cardinal(high.into()))
}

/// "three point one four"; zeros at the end are not read. `None` where the whole part has more than 38 digits.
pub(super) fn decimal(whole: &str, fraction: &str) -> Option<String> {
    let mut words = cardinal(if whole.is_empty() { 0 } else { whole.parse().ok()? });
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        words.push_str(" point");
        for c in fraction.chars() {
            words.push(' ');
            words.push_str(digit(c));
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_words() {
        for (number, words) in [
            (0, "zero"),
            (13, "thirteen"),
            (40, "forty"),
            (99, "ninety-nine"),
            (100, "one hundred"),
            (1_001, "one thousand one"),
            (21_342, "twenty-one thousand three hundred forty-two"),
            (5_000_000_000, "five billion"),
            (u128::MAX, cardinal(u128::MAX).as_str()),
        ] {
            assert_eq!(cardinal(number), words);
        }
        for (number, words) in
            [(1, "first"), (12, "twelfth"), (20, "twentieth"), (23, "twenty-third"), (101, "one hundred first"), (1000, "one thousandth")]
        {
            assert_eq!(ordinal(number), words);
        }
        for (number, words) in [
            (1905, "nineteen oh-five"),
            (1900, "nineteen hundred"),
            (2005, "two thousand five"),
            (2010, "twenty ten"),
            (1066, "ten sixty-six"),
            (2000, "two thousand"),
        ] {
            assert_eq!(year(number), words);
        }
        assert_eq!(decimal("3", "1400").as_deref(), Some("three point one four"));
        assert_eq!(decimal("", "5").as_deref(), Some("zero point five"));
        assert_eq!(decimal(&"9".repeat(60), "5"), None);
    }
}
