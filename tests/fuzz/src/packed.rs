//! Packs several pieces into one input. Every input is valid, and a changed byte changes little.

/// Packs pieces one after the other, each with a length of two bytes before it.
pub(crate) fn pack<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Vec<u8> {
    let mut packed = Vec::new();
    for piece in pieces {
        let piece = &piece.as_ref()[..piece.as_ref().len().min(usize::from(u16::MAX))];
        packed.extend_from_slice(&(piece.len() as u16).to_le_bytes());
        packed.extend_from_slice(piece);
    }
    packed
}

/// The reverse of [`pack`]; a length beyond the end means the rest.
pub(crate) fn unpack(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (piece, after) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        pieces.push(piece);
        bytes = after;
    }
    pieces
}

/// Messages of several parts.
pub(crate) fn pack_messages<P: AsRef<[u8]>>(messages: &[Vec<P>]) -> Vec<u8> {
    pack(messages.iter().map(pack))
}

/// The reverse of [`pack_messages`].
pub(crate) fn unpack_messages(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    unpack(bytes).into_iter().map(unpack).collect()
}
