//! What each service may publish and hear.
//!
//! Invariant: nobody but the router writes `desk` and `agent` subjects; nobody hears another service's inbox.

use crate::service::Service;

/// Rights of one service; `{shard}` stands for each shard of the installation.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    pub service: Service,
    /// Subjects it may publish, beside the requests that reading needs.
    pub publish: &'static [&'static str],
    /// Subjects it may hear, beside its own inboxes.
    pub subscribe: &'static [&'static str],
    /// Buckets it may read.
    pub buckets: &'static [&'static str],
    /// Object stores it reads, writes and removes from.
    pub objects: &'static [&'static str],
    /// Whether it answers requests: it may publish to a request's reply subject, once.
    pub answers: bool,
    /// Whether it may manage streams and consumers of any kind.
    pub manages: bool,
}

pub const RIGHTS: &[Rights] = &[
    Rights {
        service: Service::Edge,
        publish: &[
            // Of `life` an edge writes starts, where the router does not answer.
            "chat.v1.{shard}.*.conversation.*.all.life",
            "chat.v1.{shard}.*.conversation.*.all.msg",
            "chat.v1.{shard}.*.conversation.*.all.mark",
            "chat.v1.{shard}.*.conversation.*.staff.note",
            "chat.v1.{shard}.*.visitor.*",
            "command.v1.{shard}.*",
            "history.v1.{shard}.*",
            "signal.v1.{shard}.>",
            "$KV.keys.visitor.*",
            "$KV.leases.edge.*",
            "$KV.uploads.>",
            "$KV.files.>",
        ],
        subscribe: &["live.v1.{shard}.>", "signal.v1.{shard}.>"],
        buckets: &["config", "keys", "leases", "revoked", "meta", "uploads", "files"],
        objects: &["attachments"],
        // Who is here.
        answers: true,
        manages: false,
    },
    Rights {
        service: Service::Router,
        publish: &[
            "chat.v1.{shard}.*.conversation.*.all.life",
            "chat.v1.{shard}.*.conversation.*.staff.desk",
            "chat.v1.{shard}.*.agent.*",
            "signal.v1.{shard}.>",
            "$KV.leases.router.*",
        ],
        subscribe: &["command.v1.{shard}.*", "signal.v1.{shard}.*.visitors"],
        buckets: &["config", "leases", "meta"],
        objects: &[],
        answers: true,
        manages: false,
    },
    Rights {
        service: Service::Persister,
        publish: &["$KV.meta.>"],
        subscribe: &[],
        buckets: &["meta"],
        objects: &[],
        answers: false,
        manages: false,
    },
    Rights {
        service: Service::AdminApi,
        publish: &[
            "chat.v1.{shard}.*.conversation.*.all.msg",
            "chat.v1.{shard}.*.conversation.*.all.mark",
            "chat.v1.{shard}.*.conversation.*.staff.note",
            "chat.v1.{shard}.*.visitor.*",
            "command.v1.{shard}.*",
            // Asks the edges who is here, and says nothing itself.
            "signal.v1.{shard}.*.who",
            "$KV.config.>",
            "$KV.keys.staff.*",
            "$KV.revoked.*",
            "$KV.meta.>",
            // Erasing: what a visitor said goes from the log, with the files.
            "$JS.API.STREAM.PURGE.CHAT_{shard}",
            "$KV.erasures.>",
            "$KV.uploads.>",
            "$KV.files.>",
        ],
        subscribe: &["live.v1.{shard}.>", "history.v1.{shard}.*"],
        buckets: &["config", "keys", "leases", "revoked", "meta", "uploads", "files", "erasures"],
        objects: &["attachments"],
        answers: true,
        manages: false,
    },
    Rights {
        service: Service::Ops,
        publish: &["command.v1.{shard}.*", "bench.>", "$KV.>"],
        // It counts who asks for history.
        subscribe: &["live.v1.{shard}.>", "signal.v1.{shard}.>", "history.v1.{shard}.*", "bench.>"],
        buckets: &[],
        objects: &[],
        answers: false,
        manages: true,
    },
];

impl Rights {
    /// The rights of a service.
    pub fn of(service: Service) -> &'static Self {
        RIGHTS.iter().find(|rights| rights.service == service).expect("the table has every service")
    }
}

#[cfg(test)]
mod tests {
    use bus_schema::stream;

    use super::*;

    #[test]
    fn every_service_has_rights_and_only_the_router_writes_routing_state() {
        for service in Service::ALL {
            let rights = Rights::of(service);
            let routing = rights.publish.iter().any(|subject| {
                subject.ends_with("staff.desk")
                    || subject.contains(".agent.")
                    || subject.starts_with("chat.v1.{shard}.>")
            });
            assert_eq!(routing, service == Service::Router, "{service}");
            for bucket in rights.buckets {
                assert!(stream::BUCKETS.iter().any(|def| def.name == *bucket), "{bucket}");
            }
            for store in rights.objects {
                assert!(stream::OBJECTS.iter().any(|def| def.name == *store), "{store}");
            }
        }
    }
}
