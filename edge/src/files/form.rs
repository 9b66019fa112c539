//! `multipart/form-data` (RFC 7578), read piece by piece.
//!
//! Invariant: pure; holds no more than was fed since the last step and one head, and says `More` only when it cannot go
//! on without more. A head or preamble longer than `HEAD_BYTES_MAX` is an error, whatever follows.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// A part's head, or what comes before the first part.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";
/// RFC 2046 allows 70 characters.
const BOUNDARY_MAX: usize = 70;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the form's boundaries are not as RFC 2046 has them")]
    Boundary,
    #[error("a part's head is longer than {HEAD_BYTES_MAX} bytes")]
    LongHead,
    #[error("a part's head names no field")]
    Head,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing without more bytes.
    More,
    /// A part begins.
    Part { name: String, file_name: Option<String> },
    /// Bytes of the part.
    Bytes(Bytes),
    /// The part is complete.
    PartEnd,
    /// The form is complete; what follows means nothing.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    AfterBoundary,
    Head,
    Content,
    BoundaryMet,
    End,
}

#[derive(Debug)]
pub struct Form {
    finder: memmem::Finder<'static>,
    buffer: BytesMut,
    state: State,
}

/// The boundary in a `Content-Type`; none: it is no form with files.
pub fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = |parameter: &&str| {
        let name = parameter.split_once('=').map(|(name, _)| name.trim());
        name.is_some_and(|name| name.eq_ignore_ascii_case("boundary"))
    };
    let (_, value) = parameters.split(';').find(named)?.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let is_sound = !value.is_empty() && value.len() <= BOUNDARY_MAX && value.is_ascii();
    is_sound.then_some(value)
}

impl Form {
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        let finder = memmem::Finder::new(delimiter.as_bytes()).into_owned();
        // The first boundary may stand at the very beginning.
        Self { finder, buffer: BytesMut::from(&b"\r\n"[..]), state: State::Preamble }
    }

    /// Adds what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub fn step(&mut self) -> Result<Step, Malformed> {
        loop {
            match self.state {
                State::Preamble => {
                    let needle = self.finder.needle().len();
                    match self.finder.find(&self.buffer) {
                        Some(at) if at <= HEAD_BYTES_MAX => {
                            let _ = self.buffer.split_to(at + needle);
                            self.state = State::AfterBoundary;
                        }
                        None if self.buffer.len() < HEAD_BYTES_MAX + needle => return Ok(Step::More),
                        Some(_) | None => return Err(Malformed::Boundary),
                    }
                }
                State::AfterBoundary => match self.after_boundary()? {
                    Some(state) => self.state = state,
                    None => return Ok(Step::More),
                },
                State::Head => {
                    let at = match memmem::find(&self.buffer, HEAD_END) {
                        Some(at) if at <= HEAD_BYTES_MAX => at,
                        None if self.buffer.len() < HEAD_BYTES_MAX + HEAD_END.len() => return Ok(Step::More),
                        Some(_) | None => return Err(Malformed::LongHead),
                    };
                    let head = self.buffer.split_to(at + HEAD_END.len());
                    self.state = State::Content;
                    let (name, file_name) = field(&head[..at]).ok_or(Malformed::Head)?;
                    return Ok(Step::Part { name, file_name });
                }
                State::Content => return Ok(self.content()),
                State::BoundaryMet => {
                    self.state = State::AfterBoundary;
                    return Ok(Step::PartEnd);
                }
                State::End => return Ok(Step::End),
            }
        }
    }

    /// The state that what follows a boundary leads to; none: more is needed.
    fn after_boundary(&mut self) -> Result<Option<State>, Malformed> {
        if self.buffer.starts_with(b"--") {
            return Ok(Some(State::End));
        }
        let padding = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &self.buffer[padding..] {
            _ if padding > BOUNDARY_MAX => Err(Malformed::Boundary),
            [b'\r', b'\n', ..] => {
                let _ = self.buffer.split_to(padding + 2);
                Ok(Some(State::Head))
            }
            [] | [b'\r' | b'-'] => Ok(None),
            _ => Err(Malformed::Boundary),
        }
    }

    fn content(&mut self) -> Step {
        if let Some(at) = self.finder.find(&self.buffer) {
            let content = self.buffer.split_to(at).freeze();
            let _ = self.buffer.split_to(self.finder.needle().len());
            self.state = State::BoundaryMet;
            return if content.is_empty() { self.end_of_part() } else { Step::Bytes(content) };
        }
        // The end of what is here may be the beginning of a boundary.
        let safe = self.buffer.len().saturating_sub(self.finder.needle().len() - 1);
        if safe == 0 { Step::More } else { Step::Bytes(self.buffer.split_to(safe).freeze()) }
    }

    fn end_of_part(&mut self) -> Step {
        self.state = State::AfterBoundary;
        Step::PartEnd
    }
}

/// The names in a part's `Content-Disposition`.
fn field(head: &[u8]) -> Option<(String, Option<String>)> {
    let head = std::str::from_utf8(head).ok()?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let rest = disposition.trim().strip_prefix("form-data")?;
    let (mut name, mut file_name) = (None, None);
    for (key, value) in Parameters(rest) {
        match key {
            "name" => name = Some(value),
            "filename" => file_name = Some(value),
            _ => {}
        }
    }
    Some((name?, file_name))
}

/// `; key=value; key="quoted value"`.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start().strip_prefix(';')?;
        let (key, rest) = rest.split_once('=')?;
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(';').unwrap_or(rest.len());
            self.0 = &rest[end..];
            return Some((key.trim(), rest[..end].trim().to_owned()));
        };
        let (mut value, mut escaped) = (String::new(), false);
        for (at, c) in quoted.char_indices() {
            match c {
                '"' if !escaped => {
                    self.0 = &quoted[at + 1..];
                    return Some((key.trim(), value));
                }
                // Only what browsers escape: file names of Windows hold backslashes.
                '\\' if !escaped && quoted[at + 1..].starts_with('"') => escaped = true,
                c => {
                    value.push(c);
                    escaped = false;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".png\"\r\n\
                        Content-Type: text/html\r\n\r\n";

    /// All steps over a form that comes in pieces of this size.
    fn steps(form: &[u8], piece: usize) -> Result<(Vec<Step>, Vec<u8>), Malformed> {
        let (mut parser, mut steps, mut content) = (Form::new("XX"), Vec::new(), Vec::new());
        let mut pieces = form.chunks(piece);
        loop {
            match parser.step()? {
                Step::More => match pieces.next() {
                    Some(bytes) => parser.feed(bytes),
                    None => return Ok((steps, content)),
                },
                Step::Bytes(bytes) => content.extend_from_slice(&bytes),
                Step::End => {
                    steps.push(Step::End);
                    return Ok((steps, content));
                }
                step => steps.push(step),
            }
        }
    }

    proptest! {
        #[test]
        fn content_comes_through_however_it_is_cut(content: Vec<u8>, piece in 1_usize..200) {
            prop_assume!(memmem::find(&content, b"\r\n--XX").is_none());
            let mut form = b"--XX\r\n".to_vec();
            form.extend_from_slice(HEAD.as_bytes());
            form.extend_from_slice(&content);
            form.extend_from_slice(b"\r\n--XX--\r\n");
            let (steps, got) = steps(&form, piece).unwrap();
            let part = Step::Part { name: "file".into(), file_name: Some("a \"b\".png".into()) };
            prop_assert_eq!(steps, vec![part, Step::PartEnd, Step::End]);
            prop_assert_eq!(got, content);
        }

        #[test]
        fn no_bytes_panic_and_none_are_kept_for_ever(form: Vec<u8>, piece in 1_usize..50) {
            let _ = steps(&form, piece);
        }
    }

    #[test]
    fn what_is_no_form_is_refused_before_it_fills_the_memory() {
        let long = vec![b'x'; 3 * HEAD_BYTES_MAX];
        assert_eq!(steps(&long, 1_000), Err(Malformed::Boundary));
        let head = [b"--XX\r\n".to_vec(), long].concat();
        assert_eq!(steps(&head, 1_000), Err(Malformed::LongHead));
        assert_eq!(steps(b"--XXX\r\n", 1), Err(Malformed::Boundary));
        assert_eq!(steps(b"--XX\r\nA: b\r\n\r\n", 7), Err(Malformed::Head));
        // A form that is cut off never ends.
        let cut = format!("--XX\r\n{HEAD}abc");
        assert!(!steps(cut.as_bytes(), 5).unwrap().0.contains(&Step::PartEnd));
    }

    #[test]
    fn the_boundary_is_found_in_the_content_type() {
        let of = boundary;
        assert_eq!(of("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(of("Multipart/Form-Data; charset=x; Boundary=\"a b\""), Some("a b"));
        for none in
            ["", "multipart/form-data", "multipart/mixed; boundary=a", "multipart/form-data; boundary="]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
