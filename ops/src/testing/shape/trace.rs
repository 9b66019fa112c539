//! A deserializer that answers whatever is asked, and notes what was.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess, VariantAccess,
        Visitor,
    },
};
use serde_json::Value;

use super::{Field, Object, Shape, Text};

/// What texts may have to be, most general first.
pub const TEXTS: [(Text, &str); 4] = [
    (Text::Free, "any text: ü 🙂"),
    (Text::Word, "word"),
    (Text::Uuid, "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e"),
    (Text::Time, "2026-11-21T01:02:03.004Z"),
];
/// A field that no type has.
const STRANGE: &str = "a_field_of_nobody";
/// How serde_json marks raw JSON.
const RAW: &str = "$serde_json::private::RawValue";

/// What is known from tries before.
#[derive(Default)]
pub struct State {
    /// Which of the texts is offered at a place.
    offered: RefCell<BTreeMap<String, usize>>,
    /// Where the last text was asked for: a type may refuse it there or after it has it.
    asked: RefCell<Option<String>>,
    left_out: RefCell<Option<String>>,
    added: RefCell<Option<String>>,
    deep: Cell<usize>,
    example: Example,
}

/// What cannot be found by trying.
#[derive(Default)]
struct Example {
    whole: Value,
    /// Where a type is that keeps what it does not know, what it is called, and what it names.
    keeper: Option<(&'static str, &'static str, &'static [&'static str])>,
}

impl State {
    /// Of a type of which this is one.
    pub fn with(whole: Value, at: &'static str, name: &'static str) -> Self {
        let fields = whole.pointer(at).and_then(Value::as_object).expect("the example has it");
        // For as long as the process lives, as names of types do; there are few.
        let names: Vec<&'static str> = fields.keys().map(|name| &*name.clone().leak()).collect();
        let keeper = Some((at, name, &*names.leak()));
        Self { example: Example { whole, keeper }, ..Self::default() }
    }

    /// Offers the next text where the last try failed; no if there is none.
    pub fn try_another(&self) -> bool {
        let Some(path) = self.asked.take() else { return false };
        let mut offered = self.offered.borrow_mut();
        let next = offered.entry(path).or_insert(0);
        *next += 1;
        *next < TEXTS.len()
    }

    pub fn leaving_out<R>(&self, path: &str, then: impl FnOnce() -> R) -> R {
        self.left_out.replace(Some(path.to_owned()));
        let result = then();
        self.left_out.replace(None);
        result
    }

    pub fn adding<R>(&self, path: &str, then: impl FnOnce() -> R) -> R {
        self.added.replace(Some(path.to_owned()));
        let result = then();
        self.added.replace(None);
        result
    }
}

#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl de::Error for Failed {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

pub struct Tracer<'a> {
    state: &'a State,
    path: String,
    out: &'a mut Shape,
}

impl<'a> Tracer<'a> {
    pub fn new(state: &'a State, out: &'a mut Shape) -> Self {
        Self { state, path: String::new(), out }
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let n = self.state.offered.borrow().get(&self.path).copied().unwrap_or(0);
        let (text, example) = TEXTS[n.min(TEXTS.len() - 1)];
        *self.out = Shape::Text(text);
        self.state.asked.replace(Some(self.path));
        visitor.visit_borrowed_str(example)
    }

    fn integer<T>(self, min: i64, max: u64, visited: Result<T, Failed>) -> Result<T, Failed> {
        *self.out = Shape::Integer { min, max };
        visited
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            self.integer(<$type>::MIN as i64, <$type>::MAX as u64, visitor.$visit(1))
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            self.text(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Failed;

    integers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    texts!(deserialize_str deserialize_string deserialize_char deserialize_identifier);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        *self.out = Shape::Bool;
        visitor.visit_bool(true)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        *self.out = Shape::Number;
        visitor.visit_f64(0.5)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        *self.out = Shape::Any;
        match self.state.example.whole.pointer(&self.path) {
            Some(example) => example.clone().deserialize_any(visitor).map_err(de::Error::custom),
            None => visitor.visit_unit(),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failed> {
        Err(Failed(format!("{}: JSON has no bytes", self.path)))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let mut inner = Shape::Any;
        let value = visitor.visit_some(Tracer { state: self.state, path: self.path, out: &mut inner })?;
        *self.out = Shape::Optional(Box::new(inner));
        Ok(value)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        if name == RAW {
            *self.out = Shape::Any;
            return visitor.visit_map(Raw(false));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let mut inner = Shape::Any;
        let path = format!("{}/0", self.path);
        let value = visitor.visit_seq(One { state: self.state, path, out: Some(&mut inner) })?;
        *self.out = Shape::List(Box::new(inner));
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        if let Some((at, name, names)) = self.state.example.keeper
            && at == self.path
        {
            return self.deserialize_struct(name, names, visitor);
        }
        let mut inner = Shape::Any;
        let path = format!("{}/0", self.path);
        let value = visitor.visit_map(One { state: self.state, path, out: Some(&mut inner) })?;
        *self.out = Shape::Map(Box::new(inner));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let (state, path) = (self.state, self.path);
        // A type that holds itself has no end.
        state.deep.set(state.deep.get() + 1);
        if state.deep.get() > 32 {
            return Err(Failed(format!("{path}: too deep")));
        }
        let mut fields = Vec::new();
        let strange = state.added.borrow().as_deref() == Some(&path);
        let given = Fields { state, path, names: names.iter(), next: None, strange, out: &mut fields };
        let value = visitor.visit_map(given);
        state.deep.set(state.deep.get() - 1);
        *self.out = Shape::Object(Object { name, fields, open: true });
        value
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        *self.out = Shape::Choice { name, words };
        visitor.visit_enum(First { state: self.state, path: self.path, word: words[0] })
    }
}

/// All fields of a struct but the one that is left out, and one that it has not.
struct Fields<'a> {
    state: &'a State,
    path: String,
    names: std::slice::Iter<'static, &'static str>,
    next: Option<&'static str>,
    strange: bool,
    out: &'a mut Vec<Field>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failed> {
        let left_out = |name: &str| {
            let path = format!("{}/{name}", self.path);
            self.state.left_out.borrow().as_deref() == Some(&path)
        };
        self.next = self.names.by_ref().copied().find(|name| !left_out(name));
        if self.next.is_none() && std::mem::take(&mut self.strange) {
            self.next = Some(STRANGE);
        }
        self.next.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        let name = self.next.take().expect("a value follows its key");
        let mut shape = Shape::Any;
        let path = format!("{}/{name}", self.path);
        let value = seed.deserialize(Tracer { state: self.state, path, out: &mut shape })?;
        self.out.push(Field { name, shape, required: true });
        Ok(value)
    }
}

/// One element, or one entry.
struct One<'a> {
    state: &'a State,
    path: String,
    out: Option<&'a mut Shape>,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failed> {
        let Some(out) = self.out.take() else { return Ok(None) };
        seed.deserialize(Tracer { state: self.state, path: self.path.clone(), out }).map(Some)
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failed> {
        if self.out.is_none() {
            return Ok(None);
        }
        let path = format!("{} key", self.path);
        seed.deserialize(Tracer { state: self.state, path, out: &mut Shape::Any }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        let out = self.out.take().expect("a value follows its key");
        seed.deserialize(Tracer { state: self.state, path: self.path.clone(), out })
    }
}

/// Raw JSON, as serde_json hands it to itself.
struct Raw(bool);

impl<'de> MapAccess<'de> for Raw {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failed> {
        if std::mem::replace(&mut self.0, true) {
            return Ok(None);
        }
        seed.deserialize(RAW.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        seed.deserialize("{}".to_owned().into_deserializer())
    }
}

/// The first word of a choice.
struct First<'a> {
    state: &'a State,
    path: String,
    word: &'static str,
}

impl<'de> EnumAccess<'de> for First<'_> {
    type Error = Failed;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failed> {
        let word = seed.deserialize(self.word.into_deserializer())?;
        Ok((word, self))
    }
}

impl<'de> VariantAccess<'de> for First<'_> {
    type Error = Failed;

    fn unit_variant(self) -> Result<(), Failed> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failed> {
        seed.deserialize(Tracer { state: self.state, path: self.path, out: &mut Shape::Any })
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Failed> {
        Err(Failed(format!("{}: a choice with fields", self.path)))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Failed> {
        Err(Failed(format!("{}: a choice with fields", self.path)))
    }
}
