//! What the decoder remembers of the tokens it has read: keys and values, in half precision.
//!
//! Memory comes in blocks of positions, so that it grows without being copied and two conversations that begin alike share the blocks of
//! their beginning.

use std::sync::Arc;

use half::f16;

/// Positions of one block.
pub(super) const POSITIONS: usize = 64;

/// Sizes of the keys and values of one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Layers of the decoder.
    pub(super) layers: usize,
    /// Heads of keys and of values in each.
    pub(super) heads: usize,
    /// Numbers of each head.
    pub(super) head: usize,
}

impl Extent {
    /// Bytes of one block.
    pub(super) fn block_bytes(self) -> usize {
        self.layers * 2 * self.heads * POSITIONS * self.head * size_of::<f16>()
    }
}

/// Keys and values of a block of positions, (layers, 2, heads, positions, head).
type Block = Arc<[f16]>;

/// The tokens read so far, with their keys and values.
#[derive(Clone)]
pub(super) struct Memory {
    extent: Extent,
    tokens: Vec<u32>,
    blocks: Vec<Block>,
}

/// Which of the two is meant.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// What a query is compared with.
    Key,
    /// What is then read.
    Value,
}

impl Memory {
    /// Nothing read yet.
    pub(super) fn new(extent: Extent) -> Memory {
        Memory { extent, tokens: Vec::new(), blocks: Vec::new() }
    }

    /// The tokens it holds.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Bytes of its keys and values, shared ones included.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * self.extent.block_bytes()
    }

    /// Makes room for `tokens`; their keys and values are to be written before anything is read.
    pub(super) fn append(&mut self, tokens: &[u32]) {
        let first = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let numbers = self.extent.block_bytes() / size_of::<f16>();
        while self.blocks.len() * POSITIONS < self.tokens.len() {
            self.blocks.push(std::iter::repeat_n(f16::ZERO, numbers).collect());
        }
        for block in &mut self.blocks[first / POSITIONS..] {
            // Another conversation may share the block that is written on.
            Arc::make_mut(block);
        }
    }

    /// Forgets all but the first `length` tokens.
    pub(super) fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
        self.blocks.truncate(self.tokens.len().div_ceil(POSITIONS));
    }

    /// The keys or values of one head at one position, to write.
    pub(super) fn at_mut(&mut self, layer: usize, part: Part, head: usize, position: usize) -> &mut [f16] {
        let start = self.start(layer, part, head) + position % POSITIONS * self.extent.head;
        let block = Arc::get_mut(&mut self.blocks[position / POSITIONS]).expect("append has made this block its own");
        &mut block[start..][..self.extent.head]
    }

    /// The keys or values of one head in one block of positions, (positions, head).
    pub(super) fn block(&self, layer: usize, part: Part, head: usize, block: usize) -> &[f16] {
        &self.blocks[block][self.start(layer, part, head)..][..POSITIONS * self.extent.head]
    }

    fn start(&self, layer: usize, part: Part, head: usize) -> usize {
        let Extent { heads, head: size, .. } = self.extent;
        ((layer * 2 + part as usize) * heads + head) * POSITIONS * size
    }
}

/// The memories of recent conversations, so that the next turn of one reads only what is new.
pub(super) struct Memories {
    extent: Extent,
    /// The least recently used first.
    kept: Vec<Memory>,
    /// Most bytes kept between answers.
    budget: usize,
}

impl Memories {
    /// None yet; at most `budget` bytes are kept.
    pub(super) fn new(extent: Extent, budget: usize) -> Memories {
        Memories { extent, kept: Vec::new(), budget }
    }

    /// A memory that begins with as much of `tokens` as any kept one does, cut to what they share.
    ///
    /// A conversation that goes on takes its own memory along. One that only begins alike (the same instructions) leaves it for its
    /// owner and shares the blocks.
    pub(super) fn recall(&mut self, tokens: &[u32]) -> Memory {
        let shared = |memory: &Memory| memory.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let best = self.kept.iter().map(shared).enumerate().max_by_key(|(_, shared)| *shared);
        let Some((index, length)) = best.filter(|(_, shared)| *shared > 0) else { return Memory::new(self.extent) };
        let own = length * 2 > self.kept[index].tokens.len();
        let mut memory = if own { self.kept.remove(index) } else { self.kept[index].clone() };
        memory.truncate(length);
        memory
    }

    /// Keeps a memory, and forgets the least recently used beyond the budget.
    pub(super) fn keep(&mut self, memory: Memory) {
        self.kept.push(memory);
        let mut bytes: usize = self.kept.iter().map(Memory::bytes).sum();
        while bytes > self.budget && !self.kept.is_empty() {
            bytes -= self.kept.remove(0).bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { layers: 2, heads: 1, head: 4 };

    fn memory(tokens: &[u32]) -> Memory {
        let mut memory = Memory::new(EXTENT);
        memory.append(tokens);
        for (position, token) in tokens.iter().enumerate() {
            memory.at_mut(1, Part::Value, 0, position).fill(f16::from_f32(*token as f32));
        }
        memory
    }

    fn value(memory: &Memory, position: usize) -> f32 {
        memory.block(1, Part::Value, 0, position / POSITIONS)[position % POSITIONS * EXTENT.head].to_f32()
    }

    #[test]
    fn what_was_written_is_read_across_blocks() {
        let tokens: Vec<u32> = (0..200).collect();
        let memory = memory(&tokens);
        for position in 0..200 {
            assert_eq!(value(&memory, position), position as f32);
        }
        assert_eq!(memory.bytes(), 4 * EXTENT.block_bytes());
    }

    #[test]
    fn a_conversation_goes_on_from_its_own_memory_and_another_shares_only_the_beginning() {
        let mut memories = Memories::new(EXTENT, usize::MAX);
        let first: Vec<u32> = (0..100).collect();
        memories.keep(memory(&first));

        let mut other: Vec<u32> = (0..30).collect();
        other.extend(500..600);
        let mut branch = memories.recall(&other);
        assert_eq!(branch.tokens(), &other[..30]);
        branch.append(&other[30..]);
        branch.at_mut(1, Part::Value, 0, 30).fill(f16::from_f32(-1.0));
        memories.keep(branch);

        let mut on = first.clone();
        on.extend(100..110);
        let own = memories.recall(&on);
        assert_eq!(own.tokens(), &first[..]);
        assert_eq!(value(&own, 30), 30.0, "the branch did not write on the shared block");
        assert_eq!(memories.kept.len(), 1);
    }

    #[test]
    fn the_least_recently_used_is_forgotten_beyond_the_budget() {
        let mut memories = Memories::new(EXTENT, 2 * EXTENT.block_bytes());
        for start in [0, 100, 200] {
            let tokens: Vec<u32> = (start..start + 10).collect();
            memories.keep(memory(&tokens));
        }
        assert_eq!(memories.recall(&[0, 1, 2]).tokens().len(), 0);
        assert_eq!(memories.recall(&(200..250).collect::<Vec<u32>>()).tokens().len(), 10);
    }
}
