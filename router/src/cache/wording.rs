//! Whether two questions ask the same, judged by their words: the guard beside the similarity of their vectors.
//!
//! A vector forgets what matters most: `from Paris to London` and `from London to Paris`, `turn on` and `turn off`, `15 %` and `50 %` lie
//! closer than most questions that mean the same. So two questions share an answer only where nothing is left that differs once what
//! carries no meaning is gone: politeness, articles, the ways to ask "how", contractions, plurals, numbers written out, a few synonyms.
//! What is left must be equal word by word and in order: numbers, names, negations, question words, tenses, prepositions and all. Words
//! nobody here knows are content, so a text in another language agrees with itself and little else.
//!
//! Refusing a true paraphrase costs a call of a model; accepting a false one costs a wrong answer. Every rule here errs on that side.

/// The content of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wording {
    words: Vec<Word>,
    /// Whose things it is about: `my` and `your`, where either is written.
    owner: Option<Person>,
    /// Who does it, in `how do I` and `how do you`.
    doer: Option<Person>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    /// In small letters.
    text: String,
    case: Case,
}

/// What the capitals say: Turkey is no bird, and Apple no fruit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// A capital where only names have one.
    Name,
    /// No capital, from somebody who writes them, or after `a`.
    Plain,
    /// The beginning of a sentence, or of somebody who writes no capitals, or all in capitals.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Person {
    First,
    Second,
    /// Both occur.
    Mixed,
}

/// Punctuation around words that says nothing. Brackets do say something, and so does what is inside a word (`C++`, `2^10`, `!=`).
const AROUND: &[char] =
    &['.', ',', '!', '?', ';', ':', '"', '“', '”', '„', '«', '»', '\'', '…', '¿', '¡', '？', '！', '。', '，', '-', '–', '—'];
/// Of these, signs that belong to the word behind them: `-5`, `!x`, `.NET`.
const SIGNS: [char; 3] = ['-', '!', '.'];
/// Verbs about words: what follows them is content, be it ever so polite.
const QUOTING: [&str; 7] = ["spell", "say", "pronounce", "write", "translate", "mean", "type"];

/// Contractions of a pronoun or question word: the ending and what it stands for.
const ENDINGS: [(&str, &str); 5] = [("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"), ("'m", "am")];
/// Words after which `'s` is `is`, not a possessive.
const BEFORE_IS: [&str; 12] = ["what", "where", "who", "how", "why", "when", "it", "that", "there", "here", "he", "she"];
/// Words that mean something else in capitals.
const SHOUTED: [&str; 8] = ["us", "it", "who", "or", "am", "in", "may", "no"];

/// Said at the beginning, and nothing is asked by it.
const OPENINGS: [&str; 9] = ["please", "hi", "hey", "hello", "ok", "okay", "well", "excuse me", "good day"];
/// Said at the end.
const CLOSINGS: [&str; 4] = ["please", "thanks", "thank you", "exactly"];
/// Ways to ask for being told.
const TELL: [&str; 14] = [
    "can you please tell me",
    "could you please tell me",
    "would you please tell me",
    "can you tell me",
    "could you tell me",
    "would you tell me",
    "do you know",
    "i would like to know",
    "i want to know",
    "i need to know",
    "can you explain",
    "could you please explain",
    "explain",
    "tell me",
];
/// Ways to ask for something to be done, which leave the thing itself.
const ORDERS: [&str; 9] = [
    "can you please",
    "could you please",
    "would you please",
    "can you",
    "could you",
    "would you",
    "i would like to",
    "i want to",
    "i need to",
];
/// Ways to ask for a thing.
const GIVE: [&str; 7] = ["can i have", "could i have", "could i get", "can i get", "i would like", "i need", "i want"];
/// Ways to ask for the result of a calculation.
const SUMS: [&str; 4] = ["calculate", "compute", "how much is", "work out"];
/// Question words.
const QUESTIONS: [&str; 8] = ["what", "where", "who", "how", "why", "when", "which", "whose"];
/// Verbs that turn a sentence into a question that is answered by yes or no.
const YES_NO: [&str; 17] =
    ["is", "are", "am", "was", "were", "do", "does", "did", "can", "could", "should", "will", "would", "may", "must", "has", "have"];
/// Dropped wherever they stand.
const EMPTY: [&str; 9] = ["a", "an", "the", "is", "are", "am", "be", "do", "does"];

/// Turns of phrase that stand for another, longest first where one begins another; `*` marks who does it.
const PHRASES: [(&str, &str); 38] = [
    ("what is the best way to", "how"),
    ("what is the way to", "how"),
    ("what is the best method to", "how"),
    ("what are the steps to", "how"),
    ("what do i have to do to", "how *i"),
    ("what do i need to do to", "how *i"),
    ("is there a way to", "how"),
    ("is there any way to", "how"),
    ("how do i", "how *i"),
    ("how can i", "how *i"),
    ("how could i", "how *i"),
    ("how would i", "how *i"),
    ("how might i", "how *i"),
    ("how may i", "how *i"),
    ("how do we", "how *i"),
    ("how can we", "how *i"),
    ("how do you", "how *you"),
    ("how can you", "how *you"),
    ("how would you", "how *you"),
    ("how does one", "how"),
    ("how can one", "how"),
    ("how to", "how"),
    ("where can i", "where *i"),
    ("where could i", "where *i"),
    ("where do i", "where *i"),
    ("where can you", "where *you"),
    ("where do you", "where *you"),
    ("at what time does", "when does"),
    ("what time does", "when does"),
    ("at what time do", "when do"),
    ("what time do", "when do"),
    ("how much time does", "how long does"),
    ("how much time do", "how long do"),
    ("is it possible to", "can *i"),
    ("may i", "may *i"),
    ("can i", "can *i"),
    ("switch on", "turn on"),
    ("switch off", "turn off"),
];

/// Words that may stand for each other in any sentence.
const SYNONYMS: [(&str, &str); 44] = [
    ("e-mail", "email"),
    ("wi-fi", "wifi"),
    ("shop", "store"),
    ("talk", "speak"),
    ("human", "person"),
    ("remove", "delete"),
    ("define", "what"),
    ("summarise", "summarize"),
    ("colour", "color"),
    ("favourite", "favorite"),
    ("kilometre", "kilometer"),
    ("metre", "meter"),
    ("centre", "center"),
    ("cheque", "check"),
    ("organise", "organize"),
    ("tv", "television"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("thirteen", "13"),
    ("fourteen", "14"),
    ("fifteen", "15"),
    ("sixteen", "16"),
    ("seventeen", "17"),
    ("eighteen", "18"),
    ("nineteen", "19"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("forty", "40"),
    ("fifty", "50"),
    ("sixty", "60"),
    ("seventy", "70"),
    ("eighty", "80"),
    ("ninety", "90"),
];

/// Plurals that are not more of the same: spectacles are no glass.
const OWN_PLURALS: [&str; 18] = [
    "glasses",
    "goods",
    "customs",
    "news",
    "arms",
    "means",
    "woods",
    "works",
    "forces",
    "terms",
    "windows",
    "physics",
    "economics",
    "politics",
    "contents",
    "spirits",
    "savings",
    "minutes",
];

impl Wording {
    /// The content of `text`.
    pub(super) fn of(text: &str) -> Wording {
        let mut words = split(text);
        strip(&mut words, &OPENINGS, true);
        strip(&mut words, &CLOSINGS, false);
        unwrap_question(&mut words);
        strip(&mut words, &OPENINGS, true);
        let mut doer = None;
        let mut words = rephrase(words, &mut doer);
        if words.first().is_some_and(|first| YES_NO.contains(&first.text.as_str())) {
            words.insert(0, Word::unknown("yes or no:"));
        }
        let mut owner = None;
        words.retain(|word| match word.text.as_str() {
            "my" | "our" => note(&mut owner, Person::First),
            "your" => note(&mut owner, Person::Second),
            text => !EMPTY.contains(&text),
        });
        words.iter_mut().for_each(Word::canonical);
        Wording { words, owner, doer }
    }

    /// Whether both ask the same. A question without any content agrees with none.
    pub(super) fn agrees(&self, other: &Wording) -> bool {
        let alike = |a: Option<Person>, b: Option<Person>| a.is_none() || b.is_none() || a == b;
        let same = self.words.len() == other.words.len() && self.words.iter().zip(&other.words).all(|(a, b)| a.agrees(b));
        !self.words.is_empty() && same && alike(self.owner, other.owner) && alike(self.doer, other.doer)
    }

    /// Memory it takes up, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.words.iter().map(|word| word.text.len() + size_of::<Word>()).sum()
    }
}

impl Word {
    fn unknown(text: &str) -> Word {
        Word { text: text.to_owned(), case: Case::Unknown }
    }

    fn agrees(&self, other: &Word) -> bool {
        self.text == other.text && !matches!((self.case, other.case), (Case::Name, Case::Plain) | (Case::Plain, Case::Name))
    }

    /// One form for words that may stand for each other: singular, figures, one spelling.
    fn canonical(&mut self) {
        // A name has no plural.
        if self.case != Case::Name {
            self.text = singular(&self.text);
        }
        if let Some((_, same)) = SYNONYMS.iter().find(|(other, _)| *other == self.text) {
            self.text = (*same).to_owned();
        }
    }
}

/// Remembers a person, and that the word may go.
fn note(seen: &mut Option<Person>, person: Person) -> bool {
    *seen = Some(match *seen {
        None => person,
        Some(before) if before == person => person,
        Some(_) => Person::Mixed,
    });
    false
}

/// Words in small letters, contractions written out, without what is around them.
fn split(text: &str) -> Vec<Word> {
    let text = text.replace(['’', '‘', '`'], "'");
    let capital = |word: &str| word.chars().find(|c| c.is_alphanumeric()).is_some_and(char::is_uppercase);
    let raws: Vec<&str> = text.split_whitespace().collect();
    let own = |raw: &&&str| capital(raw) && raw.trim_matches(AROUND) != "I" && !raw.starts_with("I'");
    let capitals = raws.iter().filter(own).count();
    // A title has more capitals than names.
    let title = raws.len() > 2 && 2 * capitals > raws.len() + 1;
    let mut words = Vec::new();
    let mut beginning = true;
    for (n, raw) in raws.iter().enumerate() {
        let word = trimmed(raw, n + 1 == raws.len());
        let after_article = n > 0 && matches!(raws[n - 1].to_lowercase().as_str(), "a" | "an");
        let case = match (capital(raw), own(&raw)) {
            (true, true) if !beginning && !title => Case::Name,
            (false, _) if (capitals > 0 && !title) || after_article => Case::Plain,
            _ => Case::Unknown,
        };
        let small = word.to_lowercase();
        let shouted = small != word && word.to_uppercase() == word && small.len() > 1 || case == Case::Name;
        if shouted && SHOUTED.contains(&small.as_str()) && !title {
            words.push(Word { text: format!("^{small}"), case });
        } else if !word.is_empty() {
            words.extend(expand(&small).into_iter().map(|text| Word { text, case }));
        }
        beginning = raw.ends_with(['.', '!', '?', ':']);
    }
    words
}

/// A word without what is around it.
fn trimmed(raw: &str, last: bool) -> &str {
    let core = raw.trim_matches(AROUND);
    if core.is_empty() {
        // `-` between numbers, `!=`: kept, where it is more than the end of a sentence.
        return if raw.chars().count() > 1 || raw == "-" { raw } else { "" };
    }
    let start = raw.len() - raw.trim_start_matches(AROUND).len();
    let start = start - usize::from(raw[..start].ends_with(SIGNS));
    let end = start + raw[start..].trim_end_matches(AROUND).len();
    // The name of a single letter with a mark behind it, inside a sentence, is another name.
    let named = !last && core.chars().count() == 1 && !raw.ends_with([',', ':', ';']);
    if named { &raw[start..] } else { &raw[start..end] }
}

/// A word with its contraction written out.
fn expand(word: &str) -> Vec<String> {
    let two = |first: &str, second: &str| vec![first.to_owned(), second.to_owned()];
    if let Some(base) = word.strip_suffix("n't") {
        let base = match base {
            "ca" => "can",
            "wo" => "will",
            "sha" => "shall",
            base => base,
        };
        return two(base, "not");
    }
    if word == "cannot" {
        return two("can", "not");
    }
    if let Some(base) = word.strip_suffix("'s").filter(|base| BEFORE_IS.contains(base)) {
        return two(base, "is");
    }
    match ENDINGS.iter().find_map(|(ending, whole)| Some((word.strip_suffix(ending)?, *whole))) {
        Some((base, whole)) => two(base, whole),
        None => vec![word.to_owned()],
    }
}

/// How many words of `phrase` the words begin with; `None` where they do not.
fn begins(words: &[Word], phrase: &str) -> Option<usize> {
    let mut length = 0;
    for part in phrase.split(' ') {
        if words.get(length)?.text != part {
            return None;
        }
        length += 1;
    }
    Some(length)
}

/// Takes phrases off one end, as long as there are any and something is left.
fn strip(words: &mut Vec<Word>, phrases: &[&str], front: bool) {
    loop {
        let found = phrases.iter().find_map(|phrase| {
            let length = phrase.split(' ').count();
            let start = if front { 0 } else { words.len().checked_sub(length)? };
            // `How do I spell please`: there it is what is asked about.
            let quoted = start > 0 && QUOTING.contains(&words[start - 1].text.as_str());
            begins(&words[start..], phrase).filter(|length| *length < words.len() && !quoted).map(|length| start..start + length)
        });
        match found {
            Some(range) => drop(words.drain(range)),
            None => return,
        }
    }
}

/// `Could you tell me where X is` asks `where X is`, `tell me the X` asks `what the X`, `I would like to X` orders `X`.
fn unwrap_question(words: &mut Vec<Word>) {
    let question = |word: Option<&Word>| word.is_some_and(|word| QUESTIONS.contains(&word.text.as_str()));
    let figure = |word: Option<&Word>| word.is_some_and(|word| word.text.starts_with(|c: char| c.is_ascii_digit()));
    for phrase in TELL {
        if let Some(length) = begins(words, phrase) {
            if question(words.get(length)) {
                words.drain(..length);
                return;
            }
            if phrase.ends_with("tell me") && words.get(length).is_some_and(|word| word.text == "the") {
                words.splice(..length, [Word::unknown("what")]);
                return;
            }
        }
    }
    for phrase in SUMS {
        if let Some(length) = begins(words, phrase).filter(|length| figure(words.get(*length))) {
            words.splice(..length, [Word::unknown("what")]);
            return;
        }
    }
    for phrase in ORDERS {
        if let Some(length) = begins(words, phrase).filter(|length| *length < words.len()) {
            words.drain(..length);
            return;
        }
    }
    for phrase in GIVE {
        if let Some(length) =
            begins(words, phrase).filter(|length| words.get(*length).is_some_and(|word| word.text == "a" || word.text == "an"))
        {
            words.splice(..length, ["give", "me"].map(Word::unknown));
            return;
        }
    }
}

/// Puts one turn of phrase in the place of all that say the same.
fn rephrase(words: Vec<Word>, doer: &mut Option<Person>) -> Vec<Word> {
    let mut said = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let found = PHRASES.iter().find_map(|(phrase, other)| Some((begins(&words[at..], phrase)?, *other)));
        let Some((length, other)) = found else {
            said.push(words[at].clone());
            at += 1;
            continue;
        };
        for part in other.split(' ') {
            match part {
                "*i" => drop(note(doer, Person::First)),
                "*you" => drop(note(doer, Person::Second)),
                part => said.push(Word::unknown(part)),
            }
        }
        at += length;
    }
    said
}

fn singular(word: &str) -> String {
    let plain = word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let keeps = ["ss", "us", "is", "as", "os"].iter().any(|ending| word.ends_with(ending));
    if !plain || keeps || !word.ends_with('s') || OWN_PLURALS.contains(&word) {
        return word.to_owned();
    }
    match word {
        word if word.ends_with("ies") && word.len() > 4 => format!("{}y", &word[..word.len() - 3]),
        word if ["ches", "shes", "sses", "xes"].iter().any(|ending| word.ends_with(ending)) => word[..word.len() - 2].to_owned(),
        word => word[..word.len() - 1].to_owned(),
    }
}

#[cfg(test)]
mod tests;
