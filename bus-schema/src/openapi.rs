//! How events look in OpenAPI, where the data is that of the kind, and what else no type says by itself.
//!
//! Invariant: nothing is listed a second time: kinds, their data and the words of closed sets come from the types that
//! are encoded and decoded.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        extensions::Extensions,
        schema::{
            AdditionalProperties, AllOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type,
        },
    },
};

use crate::{
    ClientId, Visibility,
    event::{Home, Kind, VERSION, Wire},
    limits::{CUSTOM_KEY_CHARS_MAX, FORM_FIELDS_MAX, FORM_VALUE_CHARS_MAX},
};

/// What all events have.
type Envelope = Wire<'static>;

/// Schemas by their names.
pub type Named = Vec<(String, RefOr<Schema>)>;

/// An event of a conversation, as readers see it.
#[derive(Debug)]
pub struct Event;

/// An event of a visitor's record, as readers see it.
#[derive(Debug)]
pub struct VisitorEvent;

/// An event of a kind that this version does not know: a newer neighbour wrote it.
#[derive(Debug)]
pub struct UnknownEvent;

/// A field of a form; what else it holds is between console and widget.
#[derive(Debug)]
pub struct FormField;

/// The kinds of what people say.
#[derive(Debug)]
pub struct SaidKind;

/// What was filled into a field of a form.
#[derive(Debug)]
pub struct FormValue;

/// An element of a rich message: what it holds is between console and widget. Links lead to web pages alone.
#[derive(Debug)]
pub struct Element;

/// The kinds that a conversation has.
pub fn of_conversations() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.lane(Visibility::All).is_some())
}

fn of_visitors() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.home() == Home::Visitor)
}

macro_rules! events {
    ($($name:ident $about:literal $kinds:ident;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let events = $kinds().map(name_of).chain([UnknownEvent::name().into_owned()]);
                let each = events.fold(OneOfBuilder::new(), |all, name| all.item(Ref::from_schema_name(name)));
                each.description(Some($about)).into()
            }
        }

        impl ToSchema for $name {
            fn schemas(named: &mut Named) {
                for kind in $kinds() {
                    named.push((name_of(kind), event(kind)));
                    kind.schemas(named);
                }
                push::<UnknownEvent>(named);
                push::<Envelope>(named);
            }
        }
    )*};
}

events! {
    Event "What happened in a conversation; the kind says what `data` holds." of_conversations;
    VisitorEvent "What happened to a visitor's record; the kind says what `data` holds." of_visitors;
}

/// A type's schema, and those that it refers to.
pub fn named<T: ToSchema>() -> Named {
    let mut named = Named::new();
    push::<T>(&mut named);
    named
}

fn push<T: ToSchema>(named: &mut Named) {
    named.push((T::name().into_owned(), T::schema()));
    T::schemas(named);
}

/// A schema by its name.
pub fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// One of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

fn version() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([VERSION]))
}

fn name_of(kind: Kind) -> String {
    format!("{kind:?}Event")
}

fn event(kind: Kind) -> RefOr<Schema> {
    let own = ObjectBuilder::new()
        .property("kind", words([kind.name()]))
        .required("kind")
        .property("v", version())
        .property("data", kind.data())
        .required("data");
    AllOfBuilder::new().item(reference::<Envelope>()).item(own).into()
}

impl PartialSchema for UnknownEvent {
    fn schema() -> RefOr<Schema> {
        let known = ObjectBuilder::new()
            .property("kind", words(Kind::ALL.iter().map(|kind| kind.name())))
            .property("v", version());
        AllOfBuilder::new()
            .item(reference::<Envelope>())
            .item(no(known).property("data", serde_json::Value::schema()).required("data"))
            .description(Some("Of a kind or version that is not known yet: to be ignored."))
            .into()
    }
}

impl ToSchema for UnknownEvent {}

/// What `send_event` takes from who may send these kinds.
pub fn sent(kinds: impl Iterator<Item = Kind>) -> RefOr<Schema> {
    let one = |kind: Kind| {
        let mut data = kind.data();
        if let RefOr::T(Schema::Object(object)) = &mut data {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
        ObjectBuilder::new()
            .property("kind", words([kind.name()]))
            .required("kind")
            .property("client_id", reference::<ClientId>())
            .required("client_id")
            .property("visibility", reference::<Visibility>())
            .property("data", data)
            .required("data")
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
    };
    kinds.map(one).fold(OneOfBuilder::new(), OneOfBuilder::item).into()
}

/// What [`sent`] refers to.
pub fn refer_to_sent(kinds: impl Iterator<Item = Kind>, named: &mut Named) {
    push::<ClientId>(named);
    push::<Visibility>(named);
    kinds.for_each(|kind| kind.schemas(named));
}

/// The kind and the data of what these events tell, without these fields of the data.
pub fn told(kinds: impl Iterator<Item = Kind>, left_out: &[&str]) -> RefOr<Schema> {
    let kinds: Vec<Kind> = kinds.collect();
    let one = |kind: &Kind| {
        let mut data = kind.data();
        if let RefOr::T(Schema::Object(object)) = &mut data {
            object.properties.retain(|name, _| !left_out.contains(&name.as_str()));
            object.required.retain(|name| !left_out.contains(&name.as_str()));
            if object.properties.is_empty() {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
        let kind = words([kind.name()]);
        ObjectBuilder::new().property("kind", kind).required("kind").property("data", data).required("data")
    };
    let known = ObjectBuilder::new().property("kind", words(kinds.iter().map(|kind| kind.name())));
    let unknown =
        no(known).property("kind", text()).required("kind").property("data", any()).required("data");
    kinds.iter().map(one).fold(OneOfBuilder::new(), OneOfBuilder::item).item(unknown).into()
}

/// What [`told`] refers to.
pub fn refer_to_told(kinds: impl Iterator<Item = Kind>, named: &mut Named) {
    kinds.for_each(|kind| kind.schemas(named));
}

/// Anything but this, of which the builder knows nothing by itself.
fn no(this: ObjectBuilder) -> ObjectBuilder {
    let this = serde_json::to_value(RefOr::<Schema>::from(this)).expect("a schema is JSON");
    ObjectBuilder::new().extensions(Some(Extensions::from_iter([("not", this)])))
}

/// An object whose fields nobody knows.
fn any() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

impl PartialSchema for FormField {
    fn schema() -> RefOr<Schema> {
        let name = text().min_length(Some(1)).max_length(Some(CUSTOM_KEY_CHARS_MAX));
        ObjectBuilder::new()
            .property("name", name)
            .required("name")
            .property("label", text())
            .property("type", text())
            .property("required", ObjectBuilder::new().schema_type(Type::Boolean))
            .description(Some("A field of a form; what else it holds is between console and widget."))
            .into()
    }
}

impl ToSchema for FormField {}

impl PartialSchema for FormValue {
    fn schema() -> RefOr<Schema> {
        let line = || text().max_length(Some(FORM_VALUE_CHARS_MAX));
        let simple =
            [Type::Number, Type::Boolean, Type::Null].map(|one| ObjectBuilder::new().schema_type(one));
        let several = ArrayBuilder::new().items(line()).max_items(Some(FORM_FIELDS_MAX));
        let all = OneOfBuilder::new().item(line()).item(several);
        simple
            .into_iter()
            .fold(all, OneOfBuilder::item)
            .description(Some("What was filled into a field of a form."))
            .into()
    }
}

impl ToSchema for FormValue {}

impl PartialSchema for Element {
    fn schema() -> RefOr<Schema> {
        let about = "What it holds is between console and widget; links lead to web pages alone.";
        any().description(Some(about)).into()
    }
}

impl ToSchema for Element {}

impl PartialSchema for SaidKind {
    fn schema() -> RefOr<Schema> {
        let said = Kind::ALL.iter().filter(|kind| kind.home() == Home::Said);
        words(said.map(|kind| kind.name())).description(Some("What people say.")).into()
    }
}

impl ToSchema for SaidKind {}

impl PartialSchema for crate::ErrorCode {
    fn schema() -> RefOr<Schema> {
        let about = "What went wrong, by a name that never changes.";
        words(Self::ALL.iter().map(|code| code.name())).description(Some(about)).into()
    }
}

impl ToSchema for crate::ErrorCode {}
