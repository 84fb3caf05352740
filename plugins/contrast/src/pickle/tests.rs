use super::*;

fn refusal(pickle: &[u8]) -> Refusal {
    Reader::default().read(pickle).map(|_| ()).unwrap_err()
}

fn reads(pickle: &[u8]) -> bool {
    Reader::default().read(pickle).is_ok()
}

/// A pickle of protocol 4 with a dictionary whose key `a` has the value that `inside` pushes.
fn around(inside: &[u8]) -> Vec<u8> {
    [b"\x80\x04}\x8c\x01a", inside, b"s."].concat()
}

#[test]
fn nothing_is_called_whatever_a_pickle_asks_for_and_what_it_would_have_given_is_no_number_and_no_text() {
    let mut reader = Reader::default();
    for asks in [
        &b"cos\nsystem\nX\x02\x00\x00\x00id\x85R"[..],
        b"\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R",
        b"c__builtin__\neval\nX\x01\x00\x00\x001\x85R",
        b"\x8c\x08builtins\x8c\x07getattr\x93",
        b"\x8c\x05numpy\x8c\x04load\x93",
        b"c\x1b[2J\nx\n",
        b"c__builtin__\nset\n)\x81",
        b"c__builtin__\nfloat\nK\x05\x85R",
        b"cpathlib\nPosixPath\nX\x01\x00\x00\x00a\x85R}\x8c\x01a]K\x01asb",
        b"cm\nD\n)}\x92(K\x01K\x02u(K\x01e",
    ] {
        let pickle = [b"\x80\x04}\x8c\x02dt", asks, b"s\x8c\x06status", asks, b"s."].concat();
        let message = reader.read(&pickle).unwrap_or_else(|error| panic!("{}: {error}", pickle.escape_ascii()));
        for field in [Field::Dt, Field::Status] {
            let value = message.get(field).unwrap();
            assert!(!value.is_float() && !value.is_int() && !value.is_str() && !value.is_literal("running"));
        }
    }
    assert!(refusal(b"\x80\x02N\x82\x01.").to_string().contains("registry of extensions"));
    assert!(refusal(b"\x80\x02NQ.").to_string().contains("persistent object"));
    assert!(refusal(b"\x80\x02cos\nsystem\n.").to_string().contains("no dictionary"));
}

#[test]
fn a_memo_takes_no_more_than_the_message_is_long() {
    let mut reader = Reader::default();
    // Index 2²⁰ - 1, in a message of a few bytes.
    assert!(reader.read(&around(b"Nr\xff\xff\x0f\x00")).is_err());
    assert!(reader.memory() < 100_000, "{}", reader.memory());
    // Python counts from 0, but a program that keeps its memo continues the count.
    assert!(reader.read(&around(b"Nq\x05r\x00\x04\x00\x00h\x050")).is_ok());
}

#[test]
fn the_old_protocols_are_refused_with_a_word() {
    for pickle in [&b"(dp0\nVstatus\np1\nVheartbeat\np2\ns."[..], b"}q\x00X\x06\x00\x00\x00status", b"emptyness", b"{"]
    {
        assert!(refusal(pickle).to_string().contains("0 and 1 are not read"));
    }
    assert!(refusal(b"\x80\x01}.").to_string().contains("protocol 0 or 1"));
    assert!(refusal(b"\x80\x06}.").to_string().contains("above 5"));
    assert!(refusal(b"\x80\x04I1\n.").to_string().contains("protocol 0"));
    assert!(refusal(b"\x80\x05}\x97.").to_string().contains("out of band"));
}

#[test]
fn what_is_cut_off_or_missing_is_refused_at_every_place() {
    let whole = around(b"(K\x01M\x02\x00\x8c\x01xC\x01yG\x00\x00\x00\x00\x00\x00\x00\x00\x88Nt\x94");
    assert!(reads(&whole));
    for length in 0..whole.len() {
        assert!(!reads(&whole[..length]), "{length}");
    }
    for pickle in [
        &b"\x80\x04."[..],
        b"\x80\x04}0.",
        b"\x80\x04}u.",
        b"\x80\x04}(K\x01u.",
        b"\x80\x04}s.",
        b"\x80\x04(}t(s.",
        b"\x80\x04\x85.",
        b"\x80\x04}(\x85.",
        b"\x80\x04}h\x00.",
        b"\x80\x04}q\x05h\x04.",
        b"\x80\x04}R.",
        b"\x80\x04}Nb.",
        b"\x80\x04}a.",
        b"\x80\x04\x94.",
        b"\x80\x04}\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\x04}\xff.",
        b"\x80\x04}]K\x01s.",
        b"\x80\x04}\x8c\x01\xff0.",
        b"\x80\x04].",
        b"\x80\x04\x81.",
        b"\x80\x04N\x92.",
    ] {
        assert!(!reads(pickle), "{}", pickle.escape_ascii());
    }
    // Bytes after the end are ignored.
    assert!(reads(b"\x80\x04}.\xff\xff"));
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    for lie in [
        &b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x96\x00\x00\x00\x00\x01\x00\x00\x00",
        b"B\xff\xff\xff\xff",
        b"X\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"T\xff\xff\xff\xff",
    ] {
        let mut reader = Reader::default();
        assert!(reader.read(&around(lie)).is_err());
        assert!(reader.memory() < 10_000);
    }
}

#[test]
fn each_buffer_has_a_limit() {
    let many = MAX_VALUES + 10;
    let pairs = b"\x8c\x01k".repeat(10);
    for (inside, says) in [
        (b"N".repeat(many), "a million values"),
        (b"(".repeat(many), "4096 deep"),
        (b"N\x94".repeat(many), "a million"),
        (b"Nr\xff\xff\xff\xff".to_vec(), "a memo of more than a million"),
        (b"K\x01\x85".repeat(many), "a million"),
        ([&b"c"[..], &b"x".repeat(300)].concat(), "256 bytes"),
        ([&b"c"[..], &pairs, b"\n", &b"x".repeat(300), b"\n"].concat(), "256 bytes"),
    ] {
        let mut reader = Reader::default();
        let error = reader.read(&around(&inside)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(reader.memory() <= 4 * MAX_VALUES * 16, "{}", reader.memory());
        // The next message frees the memory.
        assert!(reader.read(b"\x80\x04}.").is_ok());
        assert!(reader.memory() <= 1 << 20);
    }
}

#[test]
fn a_list_of_more_tuples_than_are_kept_is_read() {
    let mut reader = Reader::default();
    let tuples = [&b"]"[..], &b"(K\x01K\x02\x86e".repeat(MAX_VALUES)].concat();
    assert!(reader.read(&around(&tuples)).is_ok());
    assert!(reader.memory() <= 4 * MAX_VALUES * 16, "{}", reader.memory());
}

#[test]
fn of_the_outermost_dictionary_the_last_value_of_a_key_counts() {
    let mut reader = Reader::default();
    let pickle =
        b"\x80\x04}\x94(\x8c\x02dtN\x8c\x04path}(\x8c\x02dt\x8c\x01xu\x8c\x02dtG?\xf0\x00\x00\x00\x00\x00\x00us.";
    assert!(reader.read(pickle).is_err());
    let pickle =
        b"\x80\x04}\x94(\x8c\x02dtN\x8c\x04path}(\x8c\x02dt\x8c\x01xu\x8c\x02dtG?\xf0\x00\x00\x00\x00\x00\x00u.";
    let message = reader.read(pickle).unwrap();
    assert!(message.get(Field::Dt).unwrap().is_float());
    assert!(!message.get(Field::Path).unwrap().is_str());
    assert!(message.get(Field::Status).is_none());
}

#[test]
fn numpy_s_objects_must_fit_their_bytes() {
    let dtype = b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb";
    let scalar =
        |data: &[u8]| [b"\x8c\x16numpy._core.multiarray\x8c\x06scalar\x93", &dtype[..], data, b"\x86R"].concat();
    assert!(reads(&around(&scalar(b"C\x0812345678"))));
    assert!(!reads(&around(&scalar(b"C\x071234567"))));
    let array = |shape: &[u8], data: &[u8]| {
        [b"\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(", data, &dtype[..], shape, b"\x8c\x01Ct\x94R"].concat()
    };
    assert!(reads(&around(&array(b"K\x02\x85", b"C\x101234567812345678"))));
    for (shape, data) in [
        (&b"K\x03\x85"[..], &b"C\x101234567812345678"[..]),
        (b"J\xff\xff\xff\xff\x85", b"C\x00"),
        (b"N\x85", b"C\x00"),
        // 2⁶³ elements of eight bytes must not overflow to 0 bytes.
        (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40K\x04\x86", b"C\x00"),
    ] {
        assert!(!reads(&around(&array(shape, data))));
    }
}

#[test]
fn a_long_value_cannot_be_used_for_ever() {
    let text =
        [&b"X\xe8\x03\x00\x00"[..], &b"a".repeat(1000), b"\x940c_codecs\nencode\n\x940\x8c\x06latin1\x940"].concat();
    let encoded = |times: usize| [b"\x80\x04}", &text[..], &b"h\x01h\x00h\x02\x86R0".repeat(times), b"."].concat();
    assert!(reads(&encoded(5)));
    assert!(refusal(&encoded(100)).to_string().contains("again and again"));
}
