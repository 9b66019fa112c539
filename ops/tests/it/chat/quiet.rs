//! A visitor of whom nothing was written for long is forgotten, unless they come back in that moment.

use bus_schema::{
    Author, Body, IncarnationId,
    event::VisitorErased,
    state::{Page, VisitorRecord},
};
use ops::{
    chat::{self, Hand, Newest, ProfileChange},
    log::Log,
};
use uuid::Uuid;

use super::Talk;
use crate::kit::provisioned;

impl Talk {
    async fn newest(&self) -> Newest {
        chat::newest(&self.log, self.home, self.visitor).await.unwrap().unwrap()
    }

    async fn forget(&self, newest: &Newest) -> Option<u64> {
        let hand = Hand {
            tenant: self.home.tenant,
            visitor: self.visitor,
            author: Author::SYSTEM,
            cause: None,
            epoch: self.epoch,
            writer: IncarnationId::from_uuid(Uuid::now_v7()),
        };
        let erased = VisitorErased { receipt: "r".into(), record: VisitorRecord::new(self.visitor) };
        let places = (newest.record.seq, newest.life_seq);
        chat::forget_quiet(&self.log, hand, self.home, places, erased).await.unwrap()
    }

    async fn says_where(&self, url: &str) {
        let page = Some(Page { url: url.to_owned(), title: None });
        let change = ProfileChange { page, ..Default::default() };
        let writer = IncarnationId::from_uuid(Uuid::now_v7());
        chat::update_visitor(&self.log, self.home.tenant, self.visitor, &change, self.epoch, writer)
            .await
            .unwrap();
    }
}

async fn talk(log: &Log, visitor: u128) -> Talk {
    let talk = Talk::new(log, visitor).await;
    talk.says_where("https://shop.example").await;
    talk
}

#[tokio::test]
async fn nobody_who_began_a_thread_or_changed_their_record_since_is_forgotten() {
    let (_server, log) = provisioned().await;
    let mut visitor = 0;
    // Who never said anything is fenced with an empty lane, who did with its last message.
    for has_talked in [false, true] {
        for begins in [false, true] {
            visitor += 1;
            let talk = talk(&log, visitor).await;
            if has_talked {
                talk.start(None).await;
                talk.close().await;
            }
            let newest = talk.newest().await;
            if begins {
                talk.start(None).await;
            } else {
                talk.says_where("https://shop.example/again").await;
            }
            let before = log.end().await.unwrap().last;
            assert_eq!(talk.forget(&newest).await, None, "{has_talked} {begins}");
            assert_eq!(log.end().await.unwrap().last, before, "nothing was written");
            let after = talk.newest().await;
            assert_eq!((after.is_open, after.at >= newest.at), (begins, true));
        }
    }
}

#[tokio::test]
async fn who_stays_away_is_forgotten_and_can_come_back() {
    let (_server, log) = provisioned().await;
    for (visitor, has_talked) in [(1, false), (2, true)] {
        let mut talk = talk(&log, visitor).await;
        if has_talked {
            talk.start(None).await;
            talk.say().await;
            talk.close().await;
        }
        let erased = talk.forget(&talk.newest().await).await.unwrap();
        let record = chat::record(&log, talk.home.tenant, talk.visitor).await.unwrap();
        assert_eq!((record.seq, record.receipt.as_deref(), record.record.page), (erased, Some("r"), None));
        let subject = format!("chat.v1.{}.{}.visitor.{}", talk.home.shard, talk.home.tenant, talk.visitor);
        let written = log.read(&subject, 1, 10).await.unwrap();
        let events: Vec<_> =
            written.iter().map(|message| bus_schema::Event::decode(&message.payload).unwrap()).collect();
        let [.., emptied, erased] = events.as_slice() else { panic!("{events:?}") };
        assert!(matches!(erased.body, Body::VisitorErased(_)));
        assert_ne!(emptied.id, erased.id, "a reader that knows an id leaves the second one out");
        assert!(talk.start(None).await.is_new);
    }
}

#[tokio::test]
async fn nothing_is_known_of_who_was_never_here() {
    let (_server, log) = provisioned().await;
    let talk = Talk::new(&log, 1).await;
    assert_eq!(chat::newest(&log, talk.home, talk.visitor).await.unwrap(), None);
}
