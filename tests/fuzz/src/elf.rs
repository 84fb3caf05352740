//! The smallest file that looks like a plugin until it is loaded: an ELF header, a segment, a section with the note,
//! and names.

use framegate_plugin_abi::{
    ABI_VERSION,
    note::{KIND, OWNER, SECTION},
};

/// 64-bit if `wide`, otherwise 32-bit; little-endian.
pub(crate) fn plugin(wide: bool) -> Vec<u8> {
    let names = format!("\0{SECTION}\0.shstrtab\0");
    let note = note();
    let (head, segment, section) = if wide { (64, 56, 64) } else { (52, 32, 40) };
    let note_at = head + segment;
    let names_at = note_at + note.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8);
    let word =
        |value: usize| if wide { (value as u64).to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() };
    let half = |value: u16| value.to_le_bytes().to_vec();
    let number = |value: u32| value.to_le_bytes().to_vec();

    let mut file = [&[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1][..], &[0; 9]].concat();
    let shared_library = 3;
    let machine = if wide { 62 } else { 3 };
    file.extend(
        [half(shared_library), half(machine), number(1), word(0), word(head), word(sections_at), number(0)].concat(),
    );
    for value in [head, segment, 1, section, 3, 2] {
        file.extend(half(value as u16));
    }
    let size = sections_at + 3 * section;
    let (load, readable) = (number(1), number(4));
    let places = [word(0), word(0), word(0), word(size), word(size)].concat();
    match wide {
        true => file.extend([load, readable, places, word(4096)].concat()),
        false => file.extend([load, places, readable, word(4096)].concat()),
    }
    file.extend(&note);
    file.extend(names.as_bytes());
    file.resize(sections_at + section, 0);
    for (name, kind, at, length) in [(1, 7, note_at, note.len()), (2 + SECTION.len() as u32, 3, names_at, names.len())]
    {
        file.extend(
            [number(name), number(kind), word(0), word(0), word(at), word(length), number(0), number(0)].concat(),
        );
        file.extend([word(4), word(0)].concat());
    }
    file
}

fn note() -> Vec<u8> {
    let text = |text: &str, length: usize| [text.as_bytes(), &vec![0; length - text.len()]].concat();
    let numbers = [ABI_VERSION.0, ABI_VERSION.1, 2, 0].map(u32::to_le_bytes).concat();
    let texts = [("framegate_root", 128), ("stins", 32), ("example", 64), ("1.0.0", 32), ("cc", 96)];
    let description = [numbers, texts.map(|(what, length)| text(what, length)).concat()].concat();
    let head = [OWNER.len() as u32 + 1, description.len() as u32, KIND].map(u32::to_le_bytes).concat();
    [head, text(OWNER, (OWNER.len() + 1).next_multiple_of(4)), description].concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_taken_for_a_plugin() {
        for wide in [true, false] {
            assert!(framegate::fuzz::note(&super::plugin(wide)), "wide: {wide}");
        }
    }
}
