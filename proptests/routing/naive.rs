//! A matcher of binding keys that is nothing but its definition.

/// Word by word, every way that `#` can go.
fn fits(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        ([], []) => true,
        (["#", rest @ ..], _) => fits(rest, words) || (!words.is_empty() && fits(pattern, &words[1..])),
        (["*", rest @ ..], [_, words @ ..]) => fits(rest, words),
        ([word, rest @ ..], [first, words @ ..]) => word == first && fits(rest, words),
        _ => false,
    }
}

pub fn naive(binding: &str, key: &str) -> bool {
    fits(&binding.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
}
