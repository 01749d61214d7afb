//! The stable hash that keeps a user with their variant.

/// FNV-1a, 64 bits (offset basis and prime of the FNV specification), then the finalizer of SplitMix64, because FNV's low bits of
/// short texts are uneven. Every node and every version gives the same number for the same texts; a zero byte follows each text, so
/// that `["ab", "c"]` and `["a", "bc"]` differ.
pub(crate) fn stable(texts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in texts.iter().flat_map(|text| text.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// The finalizer of SplitMix64: spreads every bit over all.
pub(crate) fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // Nodes of different versions must agree: these numbers are part of the behaviour.
        assert_eq!(stable(&["alice", "support"]), 0xc4ddc965d1a867fd);
        assert_eq!(stable(&[]), 0xf52a15e9a9b5e89b);
        assert_ne!(stable(&["ab", "c"]), stable(&["a", "bc"]));
    }
}
