//! Models in ONNX Runtime's own format (`.ort`): a flatbuffer, into which one more list of outputs is written.
//!
//! Nothing is converted and nothing moves: the new list is put behind the end of the buffer and the graph is pointed to it, so every
//! kernel runs as before. Slots are those of `ort.fbs` (ONNX Runtime 1.10 and later).

/// Slot of the model in an inference session.
const MODEL: usize = 1;
/// Slot of the graph in a model.
const GRAPH: usize = 7;
/// Slot of the outputs' names in a graph.
const OUTPUTS: usize = 6;

/// Whether these bytes are such a model.
pub(super) fn is_ort(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ORTM")
}

/// Adds the values named `more`, which lie inside the graph, to the outputs of the model; `None` where the bytes are no such model.
pub(super) fn add_outputs(bytes: &mut Vec<u8>, more: &[&str]) -> Option<()> {
    let model = follow(bytes, field(bytes, follow(bytes, 0)?, MODEL)?)?;
    let graph = follow(bytes, field(bytes, model, GRAPH)?)?;
    let slot = field(bytes, graph, OUTPUTS)?;
    let list = follow(bytes, slot)?;
    let count = word(bytes, list)?;
    let mut names = Vec::new();
    for index in 0..count {
        let text = follow(bytes, list + 4 + 4 * index)?;
        names.push(bytes.get(text + 4..text + 4 + word(bytes, text)?)?.to_vec());
    }
    names.extend(more.iter().map(|name| name.as_bytes().to_vec()));
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
        bytes.extend(name);
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

    /// A session that holds a model, which holds a graph with one output, `y`; each table has just the one field.
    fn session() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut word = |value: u32| bytes.extend(value.to_le_bytes());
        word(8);
        word(u32::from_le_bytes(*b"ORTM"));
        let mut at = 8;
        // A table: 4 bytes back to its list of fields, then the one field.
        for slot in [MODEL, GRAPH, OUTPUTS] {
            let fields = 4 + 2 * (slot + 1);
            let next = 8 + fields.next_multiple_of(4);
            bytes.extend((-8_i32).to_le_bytes());
            bytes.extend(u32::try_from(next - 4).expect("small").to_le_bytes());
            bytes.extend(u16::try_from(fields).expect("small").to_le_bytes());
            bytes.extend(8_u16.to_le_bytes());
            bytes.extend(vec![0; 2 * slot]);
            bytes.extend(4_u16.to_le_bytes());
            at += next;
            bytes.resize(at, 0);
        }
        for value in [1_u32, 4, 1] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(b"y\0");
        bytes
    }

    fn outputs(bytes: &[u8]) -> Option<Vec<String>> {
        let model = follow(bytes, field(bytes, follow(bytes, 0)?, MODEL)?)?;
        let list = follow(bytes, field(bytes, follow(bytes, field(bytes, model, GRAPH)?)?, OUTPUTS)?)?;
        (0..word(bytes, list)?)
            .map(|index| {
                let text = follow(bytes, list + 4 + 4 * index)?;
                let name = bytes.get(text + 4..text + 4 + word(bytes, text)?)?;
                String::from_utf8(name.to_vec()).ok()
            })
            .collect()
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
    fn what_is_cut_or_no_model_is_refused_and_never_panics() {
        let whole = session();
        for length in 0..whole.len() - 2 {
            assert_eq!(add_outputs(&mut whole[..length].to_vec(), &["a"]), None, "{length} bytes");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = add_outputs(&mut bytes, &["a"]);
            }
        }
    }
}
