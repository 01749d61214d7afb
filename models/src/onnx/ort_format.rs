//! Models in ONNX Runtime's own format (`.ort`): a flatbuffer, into which one more list of outputs is written.
//!
//! Nothing is converted and nothing moves: the new list is put behind the end of the buffer and its graph is pointed to it, so every
//! kernel runs as before. Slots are those of `ort.fbs` (ONNX Runtime 1.10 and later).

/// Slot of the model in an inference session.
const MODEL: usize = 1;
/// Slot of the graph in a model.
const GRAPH: usize = 7;
/// Slots of a graph: its nodes and the names of its outputs.
const NODES: usize = 2;
const OUTPUTS: usize = 6;
/// Slots of a node: what it does, and its attributes.
const OPERATOR: usize = 5;
const ATTRIBUTES: usize = 10;
/// Slots of an attribute: its name, and the graph that it holds.
const NAME: usize = 0;
const BRANCH: usize = 7;

/// Whether these bytes are such a model.
pub(super) fn is_ort(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ORTM")
}

/// Adds the values named `more`, which lie inside the graph, to the outputs of the model; `None` where the bytes are no such model.
pub(super) fn add_outputs(bytes: &mut Vec<u8>, more: &[&str]) -> Option<()> {
    let slot = field(bytes, graph(bytes)?, OUTPUTS)?;
    let mut names = texts(bytes, slot)?;
    names.extend(more.iter().map(|name| (*name).to_owned()));
    relist(bytes, slot, &names)
}

/// Has a branch of the model's one condition give out `instead` of what it gives by the name of an output: pairs of both. The branch is
/// `then_branch` or `else_branch`, the values lie inside it. `None` where the bytes are no such model.
pub(super) fn give_instead(bytes: &mut Vec<u8>, branch: &str, instead: &[(String, String)]) -> Option<()> {
    let nodes = field(bytes, graph(bytes)?, NODES)?;
    let condition = tables(bytes, nodes)?.into_iter().find(|node| text(bytes, *node, OPERATOR).as_deref() == Some("If"))?;
    let attributes = field(bytes, condition, ATTRIBUTES)?;
    let branch = tables(bytes, attributes)?.into_iter().find(|attribute| text(bytes, *attribute, NAME).as_deref() == Some(branch))?;
    let slot = field(bytes, follow(bytes, field(bytes, branch, BRANCH)?)?, OUTPUTS)?;
    let mut names = texts(bytes, slot)?;
    for (output, value) in instead {
        *names.iter_mut().find(|name| *name == output)? = value.clone();
    }
    relist(bytes, slot, &names)
}

/// The model's graph.
fn graph(bytes: &[u8]) -> Option<usize> {
    let model = follow(bytes, field(bytes, follow(bytes, 0)?, MODEL)?)?;
    follow(bytes, field(bytes, model, GRAPH)?)
}

/// Where the tables of the list stand that `slot` leads to.
fn tables(bytes: &[u8], slot: usize) -> Option<Vec<usize>> {
    let list = follow(bytes, slot)?;
    (0..word(bytes, list)?).map(|index| follow(bytes, list + 4 + 4 * index)).collect()
}

/// The text that stands at `at`, its length before it.
fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let start = at.checked_add(4)?;
    String::from_utf8(bytes.get(start..start.checked_add(word(bytes, at)?)?)?.to_vec()).ok()
}

/// A field of the table at `table` that holds a text.
fn text(bytes: &[u8], table: usize, slot: usize) -> Option<String> {
    text_at(bytes, follow(bytes, field(bytes, table, slot)?)?)
}

/// The texts of the list that `slot` leads to.
fn texts(bytes: &[u8], slot: usize) -> Option<Vec<String>> {
    tables(bytes, slot)?.into_iter().map(|at| text_at(bytes, at)).collect()
}

/// Puts a list of these texts behind the end and points `slot` to it.
fn relist(bytes: &mut Vec<u8>, slot: usize, names: &[String]) -> Option<()> {
    align(bytes);
    let list = bytes.len();
    put(bytes, slot, list - slot)?;
    bytes.extend(u32::try_from(names.len()).ok()?.to_le_bytes());
    let slots = bytes.len();
    bytes.resize(slots + 4 * names.len(), 0);
    for (index, name) in names.iter().enumerate() {
        align(bytes);
        let (at, text) = (slots + 4 * index, bytes.len());
        put(bytes, at, text - at)?;
        bytes.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(name.as_bytes());
        // Texts end with a nought that is not counted.
        bytes.push(0);
    }
    Some(())
}

/// An unsigned word.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(word.try_into().ok()?)).ok()
}

/// Where the offset at `at` leads: offsets count from where they stand.
fn follow(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(word(bytes, at)?)
}

/// Where a field of the table at `table` stands: the table begins with the distance back to its list of fields.
fn field(bytes: &[u8], table: usize, slot: usize) -> Option<usize> {
    let back = i32::from_le_bytes(bytes.get(table..table.checked_add(4)?)?.try_into().ok()?);
    let fields = usize::try_from(i64::try_from(table).ok()? - i64::from(back)).ok()?;
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)));
    let entry = 4 + 2 * slot;
    if entry >= half(fields)? {
        return None;
    }
    half(fields + entry)?.checked_add(table).filter(|at| *at != table)
}

fn put(bytes: &mut [u8], at: usize, distance: usize) -> Option<()> {
    bytes.get_mut(at..at + 4)?.copy_from_slice(&u32::try_from(distance).ok()?.to_le_bytes());
    Some(())
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece of a flatbuffer.
    enum Piece {
        Text(&'static str),
        List(Vec<Piece>),
        /// Fields by their slots.
        Table(Vec<(usize, Piece)>),
    }

    /// Writes a piece behind the end and says where it stands.
    fn write(bytes: &mut Vec<u8>, piece: &Piece) -> usize {
        align(bytes);
        let mut children = Vec::new();
        let at = match piece {
            Piece::Text(text) => {
                let at = bytes.len();
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
                bytes.push(0);
                at
            }
            Piece::List(items) => {
                let at = bytes.len();
                bytes.extend((items.len() as u32).to_le_bytes());
                children.extend(items.iter().enumerate().map(|(index, item)| (at + 4 + 4 * index, item)));
                bytes.resize(at + 4 + 4 * items.len(), 0);
                at
            }
            Piece::Table(slots) => {
                let fields = bytes.len();
                let most = slots.iter().map(|(slot, _)| slot + 1).max().unwrap_or(0);
                bytes.extend(((4 + 2 * most) as u16).to_le_bytes());
                bytes.extend(((4 + 4 * slots.len()) as u16).to_le_bytes());
                for slot in 0..most {
                    let place = slots.iter().position(|(known, _)| *known == slot).map_or(0, |index| 4 + 4 * index);
                    bytes.extend((place as u16).to_le_bytes());
                }
                align(bytes);
                let at = bytes.len();
                bytes.extend(((at - fields) as i32).to_le_bytes());
                children.extend(slots.iter().enumerate().map(|(index, (_, piece))| (at + 4 + 4 * index, piece)));
                bytes.resize(at + 4 + 4 * slots.len(), 0);
                at
            }
        };
        for (slot, child) in children {
            let stands = write(bytes, child);
            put(bytes, slot, stands - slot).expect("it fits");
        }
        at
    }

    /// A session with a model, whose graph has an output `y` and a condition with two branches.
    fn session() -> Vec<u8> {
        let named = |names: &[&'static str]| Piece::List(names.iter().map(|name| Piece::Text(name)).collect());
        let branch = |name, outputs: &[&'static str]| {
            Piece::Table(vec![(NAME, Piece::Text(name)), (BRANCH, Piece::Table(vec![(OUTPUTS, named(outputs))]))])
        };
        let branches = Piece::List(vec![branch("else_branch", &["y", "key"]), branch("then_branch", &["y", "key"])]);
        let nodes = vec![
            Piece::Table(vec![(OPERATOR, Piece::Text("Add"))]),
            Piece::Table(vec![(OPERATOR, Piece::Text("If")), (ATTRIBUTES, branches)]),
        ];
        let graph = Piece::Table(vec![(NODES, Piece::List(nodes)), (OUTPUTS, named(&["y"]))]);
        let session = Piece::Table(vec![(MODEL, Piece::Table(vec![(GRAPH, graph)]))]);
        let mut bytes = [8_u32.to_le_bytes(), *b"ORTM"].concat();
        let at = write(&mut bytes, &session);
        put(&mut bytes, 0, at).expect("it fits");
        bytes
    }

    /// What the two branches give out.
    fn branches(bytes: &[u8]) -> Option<Vec<Vec<String>>> {
        let condition = *tables(bytes, field(bytes, graph(bytes)?, NODES)?)?.get(1)?;
        let outputs = |attribute: &usize| texts(bytes, field(bytes, follow(bytes, field(bytes, *attribute, BRANCH)?)?, OUTPUTS)?);
        tables(bytes, field(bytes, condition, ATTRIBUTES)?)?.iter().map(outputs).collect()
    }

    fn outputs(bytes: &[u8]) -> Option<Vec<String>> {
        texts(bytes, field(bytes, graph(bytes)?, OUTPUTS)?)
    }

    #[test]
    fn outputs_are_added_behind_those_that_were_there() {
        let mut bytes = session();
        assert!(is_ort(&bytes));
        assert_eq!(outputs(&bytes), Some(vec!["y".to_owned()]));
        add_outputs(&mut bytes, &["/layers.0/Add", "b"]).expect("a model");
        add_outputs(&mut bytes, &["c"]).expect("a model still");
        assert_eq!(outputs(&bytes), Some(["y", "/layers.0/Add", "b", "c"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_branch_gives_something_else_by_the_same_name() {
        let mut bytes = session();
        let instead = |value: &str| [("key".to_owned(), value.to_owned())];
        give_instead(&mut bytes, "then_branch", &instead("/softmax")).expect("a model");
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        assert_eq!(branches(&bytes), Some(vec![names(["y", "key"]), names(["y", "/softmax"])]));
        assert_eq!(give_instead(&mut bytes, "then_branch", &instead("/softmax")), None, "no such output any more");
        assert_eq!(give_instead(&mut bytes, "other_branch", &instead("/softmax")), None, "no such branch");
    }

    #[test]
    fn what_is_cut_or_no_model_is_refused_and_never_panics() {
        let whole = session();
        let change =
            |bytes: &mut Vec<u8>| (add_outputs(bytes, &["a"]), give_instead(bytes, "then_branch", &[("key".to_owned(), "a".to_owned())]));
        for length in 0..whole.len() {
            let _ = change(&mut whole[..length].to_vec());
        }
        assert_eq!(change(&mut whole[..64].to_vec()), (None, None));
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = change(&mut bytes);
            }
        }
    }
}
