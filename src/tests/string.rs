//! A pooled text beside a `String`: any sequence of operations.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::assert_identities;
use crate::{Pool, PooledBuf, PooledString};

#[derive(Clone, Debug)]
enum Step {
    Push(char),
    PushStr(String),
    Pop,
    Clear,
    Truncate(usize),
    Reserve(usize),
    Format(i64),
    WriteChar(char),
    ExtendChars(Vec<char>),
    ExtendTexts(Vec<String>),
    Uppercase,
    ThroughBytes,
}

fn steps() -> impl Strategy<Value = Step> {
    let text = || "\\PC{0,40}";
    prop_oneof![
        any::<char>().prop_map(Step::Push),
        text().prop_map(Step::PushStr),
        Just(Step::Pop),
        Just(Step::Clear),
        (0..100_usize).prop_map(Step::Truncate),
        (0..5000_usize).prop_map(Step::Reserve),
        any::<i64>().prop_map(Step::Format),
        any::<char>().prop_map(Step::WriteChar),
        vec(any::<char>(), 0..9).prop_map(Step::ExtendChars),
        vec(text(), 0..4).prop_map(Step::ExtendTexts),
        Just(Step::Uppercase),
        Just(Step::ThroughBytes),
    ]
}

fn apply(mut text: PooledString<Arc<Pool>>, model: &mut String, step: &Step) -> PooledString<Arc<Pool>> {
    match step {
        Step::Push(c) => {
            text.push(*c);
            model.push(*c);
        }
        Step::PushStr(s) => {
            text.push_str(s);
            model.push_str(s);
        }
        Step::Pop => assert_eq!(text.pop(), model.pop()),
        Step::Clear => {
            text.clear();
            model.clear();
        }
        Step::Truncate(len) => {
            let is_allowed = *len >= model.len() || model.is_char_boundary(*len);
            if is_allowed {
                text.truncate(*len);
                model.truncate(*len);
            }
        }
        Step::Reserve(additional) => {
            text.reserve(*additional);
            assert!(text.capacity() >= text.len() + additional);
            assert!(text.try_reserve(2 * additional).is_ok() && text.capacity() >= text.len() + 2 * additional);
            assert!(text.try_reserve(usize::MAX).is_err());
        }
        Step::Format(number) => {
            write!(text, "{number:+}|{number:x}").expect("never fails");
            write!(model, "{number:+}|{number:x}").expect("never fails");
        }
        Step::WriteChar(c) => {
            text.write_char(*c).expect("never fails");
            model.push(*c);
        }
        Step::ExtendChars(chars) => {
            text.extend(chars.iter().copied());
            model.extend(chars);
        }
        Step::ExtendTexts(texts) => {
            text.extend(texts.iter().map(String::as_str));
            model.extend(texts.iter().map(String::as_str));
        }
        Step::Uppercase => {
            text.make_ascii_uppercase();
            model.make_ascii_uppercase();
        }
        Step::ThroughBytes => text = PooledString::try_from(PooledBuf::from(text)).expect("it was text"),
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_text_is_what_a_string_is(steps in vec(steps(), 0..40), begin in 0..3_u8, end in 0..5_u8) {
        let pool = Arc::new(Pool::new());
        let mut model = String::new();
        let mut text = match begin {
            0 => pool.get_owned_string(),
            1 => pool.get_owned_string_with_capacity(100),
            _ => PooledString::empty(Arc::clone(&pool)),
        };
        for step in &steps {
            text = apply(text, &mut model, step);
            prop_assert_eq!(text.as_str(), &model);
            prop_assert!(std::str::from_utf8(text.as_bytes()).is_ok());
        }
        prop_assert_eq!([text == model, model == text, text == *model.as_str(), text == model.as_str()], [true; 4]);
        prop_assert_eq!([format!("{text}"), format!("{text:?}")], [model.clone(), format!("{model:?}")]);
        match end {
            0 => drop(text),
            1 => prop_assert_eq!(text.into_string(), model),
            2 => prop_assert_eq!(&text.freeze()[..], model.as_bytes()),
            3 => prop_assert!(text.into_buf() == *model),
            _ => text.discard(),
        }
        let stats = pool.stats();
        assert_identities(&stats, 64 << 20);
        prop_assert_eq!(stats.outstanding, 0);
    }

    #[test]
    fn what_is_no_text_is_refused_and_comes_back_as_it_was(bytes in vec(any::<u8>(), 0..60)) {
        let pool = Pool::new();
        let mut buf = pool.get();
        buf.extend_from_slice(&bytes);
        match (PooledString::from_utf8(buf), std::str::from_utf8(&bytes)) {
            (Ok(text), Ok(expected)) => prop_assert_eq!(text.as_str(), expected),
            (Err(error), Err(expected)) => {
                prop_assert_eq!(error.utf8_error(), expected);
                prop_assert_eq!(error.to_string(), expected.to_string());
                prop_assert!(error.into_buf() == bytes);
            }
            (text, expected) => prop_assert!(false, "{text:?} where std says {expected:?}"),
        }
    }
}

#[test]
#[should_panic(expected = "within a character")]
fn a_text_is_not_cut_within_a_character() {
    let pool = Pool::new();
    let mut text = pool.get_string();
    text.push('ü');
    text.truncate(1);
}

fn text_of(pool: &Arc<Pool>, str: &str) -> PooledString<Arc<Pool>> {
    let mut text = pool.get_owned_string();
    text.push_str(str);
    text
}

// What changes in a pool is no part of the hash.
#[test]
#[expect(clippy::mutable_key_type)]
fn a_text_stands_for_its_str_as_a_reference_a_key_and_in_an_order() {
    let pool = Arc::new(Pool::new());
    let text = |str| text_of(&pool, str);
    let abc = text("abc");
    assert_eq!([&*abc, AsRef::<str>::as_ref(&abc), Borrow::<str>::borrow(&abc)], ["abc"; 3]);
    assert_eq!(AsRef::<[u8]>::as_ref(&abc), b"abc");
    assert!(abc == text("abc") && abc != text("abd"));
    assert_eq!(abc.partial_cmp(&text("abd")), Some(Ordering::Less));
    let keys = HashSet::from([text("abc"), text("abd")]);
    assert!(keys.contains("abc") && keys.contains("abd") && !keys.contains("ab"));
}

#[test]
fn a_text_becomes_a_string_or_bytes_and_a_discarded_one_is_freed() {
    let pool = Arc::new(Pool::new());
    let text = || text_of(&pool, "abc");
    assert_eq!(String::from(text()), "abc");
    assert_eq!(bytes::Bytes::from(text()), "abc");
    text().discard();
    assert_eq!(pool.stats().dropped.discarded, 1);
}

#[test]
fn the_debug_form_of_a_refusal_shows_the_bytes() {
    let pool = Pool::new();
    let mut buf = pool.get();
    buf.extend_from_slice(b"a\xff");
    let error = PooledString::from_utf8(buf).expect_err("no text");
    let expected = format!("FromUtf8Error {{ buf: b\"a\\xff\", error: {:?} }}", error.utf8_error());
    assert_eq!(format!("{error:?}"), expected);
}
