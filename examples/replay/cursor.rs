//! A cursor over one line of text, which says where and why it stopped.

use crate::record::Fault;

/// Reads a line from left to right.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Cursor { text, at: 0 }
    }

    /// The byte the cursor stands at, from 0.
    pub fn offset(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The fault of finding something else here.
    pub fn fault(&self, expected: &str) -> Fault {
        let found = match self.rest().chars().next() {
            None => "the end of the line".to_string(),
            Some(c) => format!("{c:?}"),
        };
        Fault::at(self.at, format!("expected {expected}, found {found}"))
    }

    /// Passes one character that must be here.
    pub fn expect(&mut self, c: char, what: &str) -> Result<(), Fault> {
        if !self.rest().starts_with(c) {
            return Err(self.fault(&format!("{c:?} {what}")));
        }
        self.at += c.len_utf8();
        Ok(())
    }

    /// Passes `text` if it is here.
    pub fn skip(&mut self, text: &str) -> bool {
        let here = self.rest().starts_with(text);
        if here {
            self.at += text.len();
        }
        here
    }

    /// Passes a word up to the next space or the end; it must not be empty.
    pub fn word(&mut self, what: &str) -> Result<&'a str, Fault> {
        let rest = self.rest();
        let len = rest.find(' ').unwrap_or(rest.len());
        if len == 0 {
            return Err(self.fault(what));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    /// Passes exactly `count` digits.
    pub fn digits(&mut self, count: usize, what: &str) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..count {
            value = value * 10 + self.digit(what)?;
        }
        Ok(value)
    }

    /// Passes exactly `count` digits whose number must be in `min..=max`.
    pub fn ranged(&mut self, count: usize, min: u32, max: u32, what: &str) -> Result<u32, Fault> {
        let start = self.at;
        let value = self.digits(count, what)?;
        if value < min || value > max {
            return Err(Fault::at(start, format!("expected {what} from {min} to {max}, found {}", &self.text[start..self.at])));
        }
        Ok(value)
    }

    /// Passes one or more digits.
    pub fn number(&mut self, max: u64, what: &str) -> Result<u64, Fault> {
        let start = self.at;
        let mut value = u64::from(self.digit(what)?);
        while let Ok(digit) = self.digit(what) {
            value = value.saturating_mul(10).saturating_add(u64::from(digit));
        }
        if value > max {
            return Err(Fault::at(start, format!("expected {what} up to {max}, found {}", &self.text[start..self.at])));
        }
        Ok(value)
    }

    fn digit(&mut self, what: &str) -> Result<u32, Fault> {
        match self.rest().bytes().next() {
            Some(byte @ b'0'..=b'9') => {
                self.at += 1;
                Ok(u32::from(byte - b'0'))
            }
            _ => Err(self.fault(what)),
        }
    }

    /// Passes a string in double quotes, in which a backslash protects the character behind it. Gives what is between the quotes, as
    /// it stands.
    pub fn quoted(&mut self, what: &str) -> Result<&'a str, Fault> {
        self.expect('"', &format!("before {what}"))?;
        let start = self.at;
        let mut escaped = false;
        for (index, byte) in self.rest().bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    let end = start + index;
                    self.at = end + 1;
                    return Ok(&self.text[start..end]);
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        Err(self.fault(&format!("'\"' after {what}")))
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), Fault> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.fault("the end of the line")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_quote_does_not_end_a_string() {
        let mut cursor = Cursor::new(r#""a \"b\" \\" c"#);
        assert_eq!(cursor.quoted("it"), Ok(r#"a \"b\" \\"#));
        assert_eq!(cursor.rest(), " c");
    }

    #[test]
    fn a_string_that_does_not_end_is_a_fault_at_the_end_of_the_line() {
        for text in ["\"abc", "\"abc\\", "\"abc\\\""] {
            let fault = Cursor::new(text).quoted("the agent").unwrap_err();
            assert_eq!(fault.column, text.len() + 1);
            assert_eq!(fault.message, "expected '\"' after the agent, found the end of the line");
        }
    }

    #[test]
    fn numbers_say_their_range() {
        assert_eq!(Cursor::new("61").ranged(2, 0, 60, "a second").unwrap_err().message, "expected a second from 0 to 60, found 61");
        assert_eq!(Cursor::new("99999999999999999999999").number(10, "a size").unwrap_err().column, 1);
        assert_eq!(Cursor::new("12x").number(u64::MAX, "a size"), Ok(12));
        assert_eq!(Cursor::new("x").number(1, "a size").unwrap_err().message, "expected a size, found 'x'");
    }

    #[test]
    fn characters_of_several_bytes_do_not_split() {
        let mut cursor = Cursor::new("é\"ü\\ü\"");
        assert_eq!(cursor.expect('"', "").unwrap_err().message, "expected '\"' , found 'é'");
        cursor.expect('é', "").unwrap();
        assert_eq!(cursor.quoted("it"), Ok("ü\\ü"));
        cursor.end().unwrap();
    }
}
