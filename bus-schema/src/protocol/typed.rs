//! From the name of an action or a push to the types of what it carries.

use serde::{Serialize, de::DeserializeOwned};

/// Does something with a type that a table names.
pub trait TypeVisitor: Copy {
    type Out;

    fn visit<T: Serialize + DeserializeOwned>(self) -> Self::Out;
}
