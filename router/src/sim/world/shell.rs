//! The shell of a simulated router: the same steps as the real one, carried out on the model.

use std::rc::Rc;

use bus_schema::{ConversationId, Lane, Subject, TenantId, ThreadId, refusal::Refusal};

use super::{
    World,
    router::{core_stored, routing_key},
    server::{Ack, Origin, Payload},
};
use crate::{
    routing::{Effect, Input, Message, Told, Write, WriteFailure, WriteId},
    sim::{
        bugs::Bug,
        bus::{Expect, Put},
        names, tamper,
    },
    steps::{Ask, Backoff, CONTENTION_TRIES, Found, Next, Tried, Writing},
};

const ACK_WAIT_MS: u64 = 5_000;
const READ_WAIT_MS: u64 = 2_000;
/// What failed may be left alone by a core for as long.
const RESTS_MS: i64 = 1_500;
/// Messages of one look.
const LOOK_MAX: usize = 3;

/// A write under way.
pub struct Flight {
    pub write: Write,
    writing: Writing,
    payloads: Vec<Rc<Payload>>,
    /// Tries that met another write under way, and whether the last one did.
    contended: u32,
    held_up: bool,
}

impl World {
    pub fn begin_effect(&mut self, n: usize, effect: Effect) {
        if !matches!(effect, Effect::Tell { .. }) {
            self.note(|| format!("router {n} wants {}", in_short(&effect)));
        }
        match effect {
            Effect::Write(write) => self.begin_write(n, write),
            Effect::Refresh { subject } => {
                self.routers[n].reading.extend(routing_key::of(subject));
                self.refresh(n, subject, Backoff::LEADER);
            }
            Effect::Look { tenant, conversation, thread, .. }
                if self.plan.bug == Some(Bug::SilenceAssumed) =>
            {
                let looked = Input::Looked {
                    tenant,
                    conversation,
                    thread,
                    said: Vec::new(),
                    up_to: None,
                    more: false,
                };
                let to = self.to(n);
                self.after(1, to, "assumes that nothing was said", move |world| world.tell(n, looked));
            }
            Effect::Look { tenant, conversation, thread, after } => {
                let end = self.stream.log().len() as u64;
                self.routers[n].looked.insert(conversation, end);
                self.look(n, tenant, (conversation, thread, after), Backoff::LEADER);
            }
            Effect::Reply { token, outcome } => {
                if let Some((_, reply)) = self.routers[n].asked.remove(&token.0) {
                    let outcome = tamper::answered(self.plan.bug, outcome, &mut self.random);
                    self.answer(reply, outcome);
                }
            }
            Effect::AskEdges { tenant, conversations, .. } => self.ask_edges(n, tenant, conversations),
            Effect::Tell { tenant, told } => self.check_told(tenant, &told),
        }
    }

    fn check_told(&mut self, tenant: TenantId, told: &Told) {
        match told {
            Told::Conversation(id, _) if self.tenant(*id) != tenant => {
                self.violate("tenant-walls", format!("{tenant} is told of {id}"));
            }
            Told::Conversation(..) => {}
            Told::Tenant(_, signal) => {
                let said = serde_json::to_vec(signal).expect("a signal is JSON");
                self.keep_apart(tenant, &said, "a signal");
            }
        }
    }

    fn begin_write(&mut self, n: usize, write: Write) {
        let found = self.check_decision(n, &write).and_then(|()| self.check_leaving(&write));
        self.check(found);
        let write = tamper::decided(self.plan.bug, write, self.clock_of(n));
        let origin = (n, self.routers[n].run, write.id);
        let payloads = write.messages.iter().map(|message| Payload::new(&message.event, Some(origin)));
        let payloads = payloads.collect();
        let writing = Writing::new(write.id, write.messages.len());
        let id = write.id;
        self.routers[n].flights.insert(id, Flight { write, writing, payloads, contended: 0, held_up: false });
        self.carry_on(n, id, Ask::Publish);
    }

    fn carry_on(&mut self, n: usize, id: WriteId, ask: Ask) {
        let Some(flight) = self.routers[n].flights.get(&id) else { return };
        let to = self.to(n);
        match ask {
            Ask::Publish => {
                let puts = self.puts(flight);
                let wait = ACK_WAIT_MS;
                self.call(
                    to,
                    wait,
                    "a write",
                    move |world, reply| world.publish(puts, reply),
                    move |world, ack| {
                        world.tried(n, id, ack);
                    },
                );
            }
            Ask::Find => {
                let (first, ours) = (&flight.write.messages[0], flight.payloads[0].clone());
                let subject = first.subject;
                let expected = first.expected.expect("a subject's first message says what it expects");
                let ask = move |world: &mut World, reply| {
                    world.read(reply, move |world| {
                        let visible = world.visible();
                        let read = world.stream.after(subject, expected).find(|stored| stored.seq <= visible);
                        Found::of(&ours.bytes, read.map(|read| (read.seq, &*read.payload.bytes)))
                    });
                };
                self.call(to, READ_WAIT_MS, "what became of it", ask, move |world, found| {
                    let Some(flight) = world.routers[n].flights.get_mut(&id) else { return };
                    let next = flight.writing.found(found.unwrap_or(Found::Unread));
                    world.next(n, id, next);
                });
            }
        }
    }

    fn puts(&self, flight: &Flight) -> Vec<Put<Rc<Payload>>> {
        let messages = flight.write.messages.iter().zip(&flight.payloads);
        let puts = messages.map(|(message, payload)| Put {
            subject: message.subject,
            expect: tamper::expect(self.plan.bug, &flight.write, message),
            msg_id: None,
            payload: payload.clone(),
        });
        puts.collect()
    }

    fn tried(&mut self, n: usize, id: WriteId, ack: Option<Ack>) {
        let Some(flight) = self.routers[n].flights.get_mut(&id) else { return };
        let tried = match ack {
            None => Tried::Unknown,
            Some(Ack::Stored { first, last }) => Tried::Stored((first..=last).collect()),
            Some(Ack::Refused(code)) => match Refusal::of(code) {
                Refusal::Mismatch => Tried::Mismatch,
                Refusal::Unknown => Tried::Unknown,
                refusal if refusal.is_contention() => Tried::Contention,
                _ => Tried::Refused,
            },
        };
        flight.held_up = tried == Tried::Contention;
        flight.contended += u32::from(flight.held_up);
        let failed = |why| Next::Done(Box::new(Input::WriteFailed { id, why }));
        let next = match (self.plan.bug, tried) {
            (Some(Bug::MismatchTakenForSuccess), Tried::Mismatch) => {
                let last = self.stream.log().len() as u64;
                let seqs = (last + 1..=last + flight.write.messages.len() as u64).collect();
                Next::Done(Box::new(Input::Written { id, seqs }))
            }
            (Some(Bug::UnknownTakenForFailure), Tried::Unknown)
            | (Some(Bug::ContentionTakenForFailure), Tried::Contention) => failed(WriteFailure::Mismatch),
            (_, tried) => flight.writing.tried(tried),
        };
        self.next(n, id, next);
    }

    fn next(&mut self, n: usize, id: WriteId, next: Next) {
        match next {
            Next::Ask(ask) => self.carry_on(n, id, ask),
            Next::Wait { pause, then, .. } => {
                let pause = pause.shortened(self.random.share()).as_millis();
                let to = self.to(n);
                let ms = u64::try_from(pause).unwrap_or(u64::MAX).max(1);
                self.after(ms, to, "tries again", move |world| world.carry_on(n, id, then));
            }
            Next::Done(input) => self.finish_write(n, id, *input),
        }
    }

    fn finish_write(&mut self, n: usize, id: WriteId, input: Input) {
        let Some(flight) = self.routers[n].flights.remove(&id) else { return };
        self.note(|| format!("router {n} hears {input:?}"));
        let origin: Origin = (n, self.routers[n].run, id);
        let until = self.routers[n].core.now().millis() + RESTS_MS;
        match &input {
            Input::Written { seqs, .. } => {
                let stored = seqs.first().and_then(|seq| self.stream.get(*seq));
                if stored.is_none_or(|stored| stored.payload.origin != Some(origin)) {
                    self.violate(
                        "certain-outcome",
                        format!("{origin:?} was told that it is stored at {seqs:?}"),
                    );
                }
                if self.plan.bug == Some(Bug::TimerTwice) && tamper::is_timers(&flight.write) {
                    self.again(&flight);
                }
            }
            // Nothing is claimed of it.
            Input::WriteFailed { why: WriteFailure::InDoubt, .. } => {}
            _ => {
                if flight.held_up && flight.contended <= CONTENTION_TRIES {
                    let what = format!("{origin:?} was given up after {} tries", flight.contended);
                    self.violate("contention-is-waited-out", what);
                }
                self.never.insert(origin);
                if self.landed.contains(&origin) {
                    self.violate(
                        "certain-outcome",
                        format!("{origin:?} is stored, and was told that it never is"),
                    );
                }
            }
        }
        let keys = flight.write.messages.iter().filter_map(|message| routing_key::of(message.subject));
        self.routers[n].resting.extend(keys.map(|key| (key, until)));
        self.tell(n, input);
    }

    /// The same once more, whatever there is by now.
    fn again(&mut self, flight: &Flight) {
        let puts = flight.write.messages.iter().map(|message| Put {
            subject: message.subject,
            expect: Expect::Anything,
            msg_id: None,
            payload: Payload::new(&message.event, None),
        });
        let puts = puts.collect();
        self.call(
            super::agenda::To::World,
            1000,
            "again",
            move |world, reply| world.publish(puts, reply),
            |_, _| {},
        );
    }

    /// The subject's last message, from the leader; asked until it is known.
    fn refresh(&mut self, n: usize, subject: Subject, mut failed: Backoff) {
        let ask = move |world: &mut World, reply| {
            world.read(reply, move |world| {
                let visible = world.visible();
                let all = world.stream.after(subject, 0).take_while(|stored| stored.seq <= visible);
                all.last().map(core_stored)
            });
        };
        let to = self.to(n);
        self.call(to, READ_WAIT_MS, "a subject", ask, move |world, last| match last {
            Some(last) => {
                let last = last.map(|last| tamper::heard(world.plan.bug, last));
                let router = &mut world.routers[n];
                let (key, until) = (routing_key::of(subject), router.core.now().millis() + RESTS_MS);
                router.resting.extend(key.map(|key| (key, until)));
                if let Some(at) = router.reading.iter().position(|reading| Some(*reading) == key) {
                    router.reading.remove(at);
                }
                world.tell(n, Input::Refreshed { subject, last });
            }
            None => world.later(n, failed.failed(), move |world| world.refresh(n, subject, failed)),
        });
    }

    fn look(&mut self, n: usize, tenant: TenantId, of: (ConversationId, ThreadId, u64), mut failed: Backoff) {
        let (conversation, thread, after) = of;
        let ask = move |world: &mut World, reply| {
            let subject = names::subject(tenant, conversation, Lane::Msg);
            world.read(reply, move |world| world.said(subject, after, LOOK_MAX));
        };
        let to = self.to(n);
        self.call(to, READ_WAIT_MS, "what was said", ask, move |world, found| match found {
            Some((said, up_to, more)) => {
                world.tell(n, Input::Looked { tenant, conversation, thread, said, up_to, more });
            }
            None => world.later(n, failed.failed(), move |world| world.look(n, tenant, of, failed)),
        });
    }

    fn later(&mut self, n: usize, pause: crate::steps::Pause, act: impl FnOnce(&mut World) + 'static) {
        let ms = u64::try_from(pause.shortened(self.random.share()).as_millis()).unwrap_or(u64::MAX);
        let to = self.to(n);
        self.after(ms, to, "asks again", act);
    }
}

/// An effect in a line of the trace.
fn in_short(effect: &Effect) -> String {
    let Effect::Write(write) = effect else { return format!("{effect:?}") };
    let message = |message: &Message| {
        format!("{} after {:?} on {}", message.event.body.name(), message.expected, message.subject)
    };
    let messages: Vec<String> = write.messages.iter().map(message).collect();
    format!("{:?}: {}", write.id, messages.join(", "))
}
