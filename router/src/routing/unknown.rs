//! States inside events of a newer neighbour: the kind may be new, the state after it is still the state.

use bus_schema::Body;
use serde::de::DeserializeOwned;

pub fn state<T: DeserializeOwned>(body: &Body) -> Option<T> {
    let Body::Unknown { data, .. } = body else { return None };
    T::deserialize(data.get("state")?).ok()
}
