//! That nothing of one tenant shows in what is another's.

use std::collections::BTreeMap;

use bus_schema::{ConversationId, TenantId};
use uuid::Uuid;

use crate::sim::names;

/// Letters of an id.
const ID_LEN: usize = 36;

/// An id in this text that is of another tenant than whose text it is. `numbers`: whose conversation it is, which its id
/// does not tell.
pub fn stranger(tenant: TenantId, text: &[u8], numbers: &BTreeMap<ConversationId, u128>) -> Option<Uuid> {
    let own = names::tenant_of(tenant.uuid());
    ids(text).find(|id| {
        let conversation = numbers.get(&ConversationId::from_uuid(*id)).copied();
        let of = conversation.map_or_else(|| names::tenant_of(*id), names::tenant_number);
        // Other large numbers are chance's, and what all share has none.
        of != own && (1..=names::TENANTS_MAX).contains(&of)
    })
}

fn ids(text: &[u8]) -> impl Iterator<Item = Uuid> {
    let quotes = text.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at + 1);
    quotes.filter_map(move |from| {
        let quoted = text.get(from..from + ID_LEN)?;
        (quoted[8] == b'-').then(|| Uuid::try_parse_ascii(quoted).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_walls_an_id_of_another_tenant_is_seen_wherever_it_stands() {
        let [ours, theirs] = [1, 2].map(|tenant| names::of_tenant(tenant, 1));
        let numbers = BTreeMap::from([ours, theirs].map(|n| (names::conversation(n), n)));
        let found = |id: Uuid| {
            let text = format!("{{\"all\":[\"x\",\"{}\",{{\"{id}\":1}}]}}", names::agent(ours));
            stranger(names::tenant(ours), text.as_bytes(), &numbers)
        };
        for (id, own) in [
            (names::agent(theirs).uuid(), names::agent(ours).uuid()),
            (names::group(theirs).uuid(), names::group(ours).uuid()),
            (names::conversation(theirs).uuid(), names::conversation(ours).uuid()),
            (names::tenant(theirs).uuid(), Uuid::from_u128(0xE0)),
        ] {
            assert_eq!((found(id), found(own)), (Some(id), None));
        }
    }
}
