//! Reading FHIR JSON without building a tree of it.
//!
//! Resources cross as bytes and only a few members are looked at, so one pass makes a flat list of
//! nodes that borrow from the text. A general JSON library costs several times the rest of the
//! decision inside the guest (ARCHITECTURE.md has the figures) and brings floating point along.
//!
//! SECURITY: the FHIR server reads the same bytes with another parser. Whatever two parsers could
//! read differently is an error here: duplicate names on a path that is looked up, bad escapes, bad
//! numbers, trailing bytes, invalid UTF-8.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Nesting allowed; FHIR content stays far below.
const DEPTH_MAX: usize = 64;

/// The bytes are not JSON that can be read without doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Object,
    Array,
    /// a string without escapes; `start..end` is what stands between the quotes
    Plain,
    /// a string with escapes
    Escaped,
    /// a number, `true`, `false` or `null`
    Literal,
}

#[derive(Clone, Copy)]
struct Node {
    kind: Kind,
    start: u32,
    end: u32,
    /// index just past this node and everything in it
    next: u32,
}

/// One JSON text, read once.
pub struct Json<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// A value in it.
#[derive(Clone, Copy)]
pub struct Value<'j, 'a> {
    json: &'j Json<'a>,
    at: usize,
}

impl<'a> Json<'a> {
    /// Read one JSON text.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let text = core::str::from_utf8(bytes).map_err(|_| Malformed)?;
        // Resources in the wild have a node for every 14 bytes or so.
        let mut reader = Reader { bytes, at: 0, nodes: Vec::with_capacity(bytes.len() / 12 + 4) };
        reader.skip_space();
        reader.value(0)?;
        reader.skip_space();
        if reader.at != bytes.len() {
            return Err(Malformed);
        }
        Ok(Self { text, nodes: reader.nodes })
    }

    /// The outermost value.
    pub fn root(&self) -> Value<'_, 'a> {
        Value { json: self, at: 0 }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(Malformed)
    }

    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed);
        }
        match self.peek().ok_or(Malformed)? {
            b'{' => self.members(depth),
            b'[' => self.elements(depth),
            b'"' => self.string(),
            _ => self.literal(),
        }
    }

    /// A node that ends with its text and holds no other.
    fn leaf(&mut self, kind: Kind, start: usize, end: usize) -> Result<(), Malformed> {
        let next = index(self.nodes.len() + 1)?;
        self.nodes.push(Node { kind, start: index(start)?, end: index(end)?, next });
        Ok(())
    }

    /// A node that others follow, until it is closed.
    fn open(&mut self, kind: Kind) -> Result<usize, Malformed> {
        self.leaf(kind, self.at, self.at)?;
        Ok(self.nodes.len() - 1)
    }

    fn close(&mut self, node: usize) -> Result<(), Malformed> {
        let (end, next) = (index(self.at)?, index(self.nodes.len())?);
        let node = self.nodes.get_mut(node).ok_or(Malformed)?;
        (node.end, node.next) = (end, next);
        Ok(())
    }

    fn members(&mut self, depth: usize) -> Result<(), Malformed> {
        let node = self.open(Kind::Object)?;
        self.at += 1;
        self.skip_space();
        if self.peek() != Some(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(Malformed);
                }
                self.string()?;
                self.skip_space();
                self.expect(b':')?;
                self.skip_space();
                self.value(depth + 1)?;
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break,
                    _ => return Err(Malformed),
                }
            }
        }
        self.at += 1;
        self.close(node)
    }

    fn elements(&mut self, depth: usize) -> Result<(), Malformed> {
        let node = self.open(Kind::Array)?;
        self.at += 1;
        self.skip_space();
        if self.peek() != Some(b']') {
            loop {
                self.skip_space();
                self.value(depth + 1)?;
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return Err(Malformed),
                }
            }
        }
        self.at += 1;
        self.close(node)
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        let start = self.at;
        let mut kind = Kind::Plain;
        loop {
            let rest = self.bytes.get(self.at..).ok_or(Malformed)?;
            self.at += plain(rest);
            match self.peek().ok_or(Malformed)? {
                b'"' => break,
                b'\\' => {
                    kind = Kind::Escaped;
                    self.at += 2;
                }
                _ => return Err(Malformed),
            }
        }
        self.leaf(kind, start, self.at)?;
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.' | b'E') = self.peek() {
            self.at += 1;
        }
        let text = self.bytes.get(start..self.at).ok_or(Malformed)?;
        if !matches!(text, b"true" | b"false" | b"null") && !is_number(text) {
            return Err(Malformed);
        }
        self.leaf(Kind::Literal, start, self.at)
    }
}

fn index(at: usize) -> Result<u32, Malformed> {
    u32::try_from(at).map_err(|_| Malformed)
}

/// How many bytes at the front are neither a quote, a backslash nor a control character: eight are looked at
/// in one go, since strings are most of a resource.
fn plain(text: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // The high bit of every byte below `limit`. A borrow may mark bytes behind the first one, never before it.
    let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word & (EACH * 0x80);
    let first_special = |word: u64| {
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1).trailing_zeros();
        below(word, 0x20).trailing_zeros().min(is(b'"')).min(is(b'\\'))
    };
    let mut at = 0;
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let bit = first_special(u64::from_le_bytes(*eight));
        if bit < u64::BITS {
            return at + (bit / 8) as usize;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)).count()
}

/// RFC 8259, section 6.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = text.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    match rest.split_first() {
        None => true,
        Some((b'e' | b'E', exponent)) => {
            let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        Some(_) => false,
    }
}

impl<'j, 'a> Value<'j, 'a> {
    fn node(self) -> Option<&'j Node> {
        self.json.nodes.get(self.at)
    }

    fn is(self, kind: Kind) -> bool {
        self.node().is_some_and(|node| node.kind == kind)
    }

    fn raw(self, node: &Node) -> &'a str {
        self.json.text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// Whether this is an object.
    pub fn is_object(self) -> bool {
        self.is(Kind::Object)
    }

    /// Whether this is an array.
    pub fn is_array(self) -> bool {
        self.is(Kind::Array)
    }

    /// A string, its escapes resolved; `None` for every other kind.
    pub fn string(self) -> Option<Result<Cow<'a, str>, Malformed>> {
        let node = self.node()?;
        match node.kind {
            Kind::Plain => Some(Ok(Cow::Borrowed(self.raw(node)))),
            Kind::Escaped => Some(unescape(self.raw(node)).map(Cow::Owned)),
            _ => None,
        }
    }

    /// A number, `true`, `false` or `null` as it is written; `None` for every other kind.
    pub fn literal(self) -> Option<&'a str> {
        self.node().filter(|node| node.kind == Kind::Literal).map(|node| self.raw(node))
    }

    /// The elements of an array, nothing for every other kind.
    pub fn elements(self) -> impl Iterator<Item = Value<'j, 'a>> {
        self.children(Kind::Array)
    }

    fn children(self, kind: Kind) -> impl Iterator<Item = Value<'j, 'a>> {
        let end = self.node().filter(|node| node.kind == kind).map_or(0, |node| node.next as usize);
        let mut at = self.at + 1;
        core::iter::from_fn(move || {
            let value = Value { json: self.json, at };
            if at >= end {
                return None;
            }
            at = value.node()?.next as usize;
            Some(value)
        })
    }

    /// The member of this name, `None` where there is none. Two of one name are malformed.
    pub fn get(self, name: &str) -> Result<Option<Value<'j, 'a>>, Malformed> {
        let mut found = None;
        let mut children = self.children(Kind::Object);
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            if key.is_named(name)? && found.replace(value).is_some() {
                return Err(Malformed);
            }
        }
        Ok(found)
    }

    /// Whether a member's name, its escapes resolved, is this one.
    fn is_named(self, name: &str) -> Result<bool, Malformed> {
        let Some(node) = self.node() else { return Ok(false) };
        match node.kind {
            Kind::Escaped => Ok(unescape(self.raw(node))? == name),
            // Most names differ in length, and slicing costs more than that.
            _ => Ok((node.end - node.start) as usize == name.len() && self.raw(node) == name),
        }
    }

    /// The members of an object in their order, nothing for every other kind.
    pub(crate) fn members(self) -> impl Iterator<Item = Result<(Cow<'a, str>, Value<'j, 'a>), Malformed>> {
        let mut children = self.children(Kind::Object);
        core::iter::from_fn(move || {
            let (key, value) = (children.next()?, children.next()?);
            Some(key.string().ok_or(Malformed).flatten().map(|name| (name, value)))
        })
    }

    /// Every member of this name, at any depth.
    pub(crate) fn each_named(
        self,
        name: &str,
        see: &mut impl FnMut(Value<'j, 'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for member in self.members() {
            let (found, value) = member?;
            if found == name {
                see(value)?;
            }
            value.each_named(name, see)?;
        }
        self.elements().try_for_each(|element| element.each_named(name, see))
    }

    /// Whether both say the same: members in any order, numbers as they are written.
    pub(crate) fn says_the_same(self, other: Value<'_, '_>) -> Result<bool, Malformed> {
        if let (Some(one), Some(two)) = (self.string(), other.string()) {
            return Ok(one? == two?);
        }
        if self.is_array() && other.is_array() {
            let (mut ours, mut theirs) = (self.elements(), other.elements());
            loop {
                match (ours.next(), theirs.next()) {
                    (None, None) => return Ok(true),
                    (Some(one), Some(two)) if one.says_the_same(two)? => {}
                    _ => return Ok(false),
                }
            }
        }
        if !(self.is_object() && other.is_object()) {
            return Ok(self.literal().is_some() && self.literal() == other.literal());
        }
        if self.members().count() != other.members().count() {
            return Ok(false);
        }
        for member in self.members() {
            let (name, value) = member?;
            match other.get(&name)? {
                Some(theirs) if value.says_the_same(theirs)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// A member that has to be a string if it is there at all.
    pub fn get_string(self, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.get(name)? {
            None => Ok(None),
            Some(value) => value.string().ok_or(Malformed)?.map(Some),
        }
    }
}

fn unescape(raw: &str) -> Result<String, Malformed> {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        text.push(match chars.next().ok_or(Malformed)? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => unicode(&mut chars)?,
            _ => return Err(Malformed),
        });
    }
    Ok(text)
}

/// `\uXXXX`, a surrogate pair taken together; a lone surrogate is malformed.
fn unicode(chars: &mut core::str::Chars<'_>) -> Result<char, Malformed> {
    let first = hex4(chars)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).ok_or(Malformed);
    }
    if chars.next() != Some('\\') || chars.next() != Some('u') {
        return Err(Malformed);
    }
    let second = hex4(chars)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(Malformed);
    }
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Malformed)
}

fn hex4(chars: &mut core::str::Chars<'_>) -> Result<u32, Malformed> {
    (0..4).try_fold(0, |value, _| Ok(value * 16 + chars.next().and_then(|c| c.to_digit(16)).ok_or(Malformed)?))
}

/// Append a string as JSON, quoted and escaped.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                out.push_str("\\u00");
                for digit in [c as usize >> 4, c as usize & 15] {
                    out.push(HEX.get(digit).copied().unwrap_or('0'));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
