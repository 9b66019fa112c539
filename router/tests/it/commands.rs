//! What people ask for, on a real bus: refused for the documented reason, done once however often it is asked.

use std::collections::BTreeMap;

use bus_schema::{
    ErrorBody, ErrorCode, GroupId, Subject, ThreadId,
    claims::Role,
    command::{Actor, Answer, Command, CommandRequest},
    state::{CloseReason, Priority, RoutingStatus, Strategy, ThreadStatus},
};
use futures::future::join_all;
use ops::{
    chat,
    testing::{Direction, Fault, FaultProxy, long, wait_for},
};
use router::service::Turns;
use uuid::Uuid;

use crate::kit::*;

const AGENTS: u128 = 50;

fn by(n: u128) -> Actor {
    Actor::agent(agent(n), Role::Agent)
}

fn supervisor() -> Actor {
    Actor::agent(agent(99), Role::Supervisor)
}

fn of(n: u128, make: impl FnOnce(bus_schema::ConversationId, Option<ThreadId>) -> Command) -> Command {
    make(conversation(n), None)
}

fn take(n: u128) -> Command {
    of(n, |conversation_id, thread_id| Command::Take { conversation_id, thread_id })
}

fn join(n: u128) -> Command {
    of(n, |conversation_id, thread_id| Command::Join { conversation_id, thread_id })
}

fn leave(n: u128) -> Command {
    of(n, |conversation_id, thread_id| Command::Leave { conversation_id, thread_id })
}

fn close(n: u128) -> Command {
    let reason = CloseReason::Resolved;
    of(n, |conversation_id, thread_id| Command::Close { conversation_id, thread_id, reason })
}

fn to_agent(n: u128, to: u128) -> Command {
    let (agent_id, group_id, queue) = (Some(agent(to)), None, false);
    of(n, |conversation_id, thread_id| Command::Transfer {
        conversation_id,
        thread_id,
        agent_id,
        group_id,
        queue,
    })
}

fn to_group(n: u128, to: GroupId) -> Command {
    let (agent_id, group_id, queue) = (None, Some(to), false);
    of(n, |conversation_id, thread_id| Command::Transfer {
        conversation_id,
        thread_id,
        agent_id,
        group_id,
        queue,
    })
}

#[tokio::test]
async fn each_command_is_refused_for_the_reason_that_is_documented() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::Manual, &[1, 1, 5]).await;
    let _router = kit.router(Turns::Lease).await;
    for n in 1..=2 {
        kit.come(agent(n)).await;
        kit.start(n).await;
        wait_for(SOON, "it to be taken", async || kit.ask(by(n), take(n)).await).await;
    }
    kit.start(3).await;
    wait_for(SOON, "the third to wait", async || kit.life(3).await.started_seq.is_some()).await;
    let visitors = Actor::visitor(visitor(1));
    let group_7 = GroupId::from_uuid(Uuid::from_u128(7));
    let (conversation_id, thread_id) = (conversation(1), None);
    let other = Some(ThreadId::from_uuid(Uuid::from_u128(7)));
    let priority = Priority::High;
    let nobody = |agent_id, group_id| Command::Transfer {
        conversation_id,
        thread_id,
        agent_id,
        group_id,
        queue: false,
    };
    let assign = |n, to| {
        of(n, |conversation_id, thread_id| Command::Assign {
            conversation_id,
            thread_id,
            agent_id: agent(to),
        })
    };
    let skills =
        |skill: &str| Command::SetSkills { conversation_id, thread_id, skills: vec![skill.to_owned()] };
    let status = |n| Command::SetStatus { agent_id: agent(n), status: RoutingStatus::NotAccepting };
    let reopen = |n| Command::Reopen { conversation_id: conversation(n), thread_id: None };
    let cases = [
        (visitors, take(1), ErrorCode::Forbidden),
        (by(8), take(3), ErrorCode::Forbidden),
        (by(2), take(1), ErrorCode::AlreadyAssigned),
        (by(1), take(3), ErrorCode::OverCapacity),
        (by(1), take(77), ErrorCode::NotFound),
        (by(1), assign(3, 2), ErrorCode::Forbidden),
        (supervisor(), assign(3, 2), ErrorCode::OverCapacity),
        (supervisor(), assign(3, 55), ErrorCode::NotFound),
        (by(2), to_agent(1, 3), ErrorCode::NotParticipant),
        (by(1), to_agent(1, 3), ErrorCode::AgentUnavailable),
        (by(1), to_agent(1, 2), ErrorCode::OverCapacity),
        (by(1), to_agent(1, 55), ErrorCode::NotFound),
        (by(1), to_group(1, group_7), ErrorCode::NotFound),
        (by(1), nobody(None, None), ErrorCode::InvalidRequest),
        (by(1), nobody(Some(agent(2)), Some(group())), ErrorCode::InvalidRequest),
        (visitors, join(1), ErrorCode::Forbidden),
        (by(8), join(1), ErrorCode::Forbidden),
        (by(1), leave(1), ErrorCode::Conflict),
        (by(2), leave(1), ErrorCode::NotParticipant),
        (by(2), Command::Decline { conversation_id, thread_id }, ErrorCode::Conflict),
        (visitors, Command::Decline { conversation_id, thread_id }, ErrorCode::Forbidden),
        (by(2), close(1), ErrorCode::NotParticipant),
        (by(1), Command::SetPriority { conversation_id, thread_id, priority }, ErrorCode::Forbidden),
        (by(1), skills("latin"), ErrorCode::Forbidden),
        (supervisor(), skills(" "), ErrorCode::InvalidRequest),
        (by(1), Command::Join { conversation_id, thread_id: other }, ErrorCode::Conflict),
        (by(1), status(2), ErrorCode::Forbidden),
        (supervisor(), status(55), ErrorCode::NotFound),
        (visitors, reopen(1), ErrorCode::Forbidden),
        (by(1), reopen(1), ErrorCode::Conflict),
        (supervisor(), reopen(77), ErrorCode::NotFound),
    ];
    let before = kit.log.end().await.unwrap().last;
    for (at, (actor, command, code)) in cases.into_iter().enumerate() {
        let said = format!("{at}: {command:?}");
        assert_eq!(kit.ask(actor, command).await.unwrap_err().code, code, "{said}");
    }
    assert_eq!(kit.log.end().await.unwrap().last, before, "what is refused changes nothing");
    kit.ask(by(1), close(1)).await.unwrap();
    for command in [take(1), join(1), leave(1), close(1), to_agent(1, 2)] {
        assert_eq!(kit.ask(supervisor(), command).await.unwrap_err().code, ErrorCode::ThreadClosed);
    }
    assert_eq!(kit.ask(by(8), reopen(1)).await.unwrap_err().code, ErrorCode::Forbidden);
    kit.check().await;
}

/// The same request, several times at once; what each was told, without the place in the log.
async fn at_once(kit: &Kit, request: &CommandRequest, times: usize) -> Vec<Result<Answer, ErrorBody>> {
    let ask = || async {
        let answer = chat::ask(&kit.bus, SHARD, TENANT, request, SOON).await;
        answer.map(|answer| match answer {
            Answer::Thread { thread_id, assignee_id, .. } => {
                Answer::Thread { thread_id, assignee_id, seq: 0 }
            }
            other => other,
        })
    };
    join_all((0..times).map(|_| ask())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_asked_again_and_of_two_routers_at_once_happens_once() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::Manual, &[3, 3]).await;
    let _one = kit.router(Turns::Together).await;
    let _two = kit.router(Turns::Together).await;
    kit.come(agent(1)).await;
    kit.come(agent(2)).await;
    kit.start(1).await;
    wait_for(SOON, "it to wait", async || kit.life(1).await.started_seq.is_some()).await;
    let (conversation_id, thread_id) = (conversation(1), None);
    let (priority, skills) = (Priority::High, vec!["latin".to_owned()]);
    let steps = [
        (supervisor(), Command::SetPriority { conversation_id, thread_id, priority }),
        (supervisor(), Command::SetSkills { conversation_id, thread_id, skills }),
        (by(1), take(1)),
        (by(2), join(1)),
        (by(1), to_agent(1, 2)),
        (by(1), join(1)),
        (by(1), leave(1)),
        (by(1), Command::SetStatus { agent_id: agent(1), status: RoutingStatus::NotAccepting }),
        (by(2), close(1)),
        (by(2), Command::Reopen { conversation_id, thread_id: None }),
    ];
    for (actor, command) in steps {
        let request = chat::command(actor, command);
        // Whichever of them a request reaches may not have read what the other has just written.
        let first = wait_for(SOON, "both to know of what it is about", async || {
            let answers = at_once(&kit, &request, 1).await;
            answers.into_iter().find(Result::is_ok)
        })
        .await;
        for again in at_once(&kit, &request, 6).await {
            assert_eq!(again, first, "{:?}", request.command);
        }
        let mut written: BTreeMap<Subject, usize> = BTreeMap::new();
        let cause = Some(request.command_id.uuid());
        for logged in kit.everything().await.iter().filter(|logged| logged.event.cause == cause) {
            *written.entry(logged.subject).or_default() += 1;
        }
        assert!(!written.is_empty(), "{:?}", request.command);
        assert!(written.values().all(|times| *times == 1), "{:?}: {written:?}", request.command);
    }
    let race = chat::command(supervisor(), close(1));
    let told = at_once(&kit, &race, 8).await;
    assert!(told.iter().all(|answer| *answer == told[0] && answer.is_ok()), "{told:?}");
    assert_eq!(kit.life(1).await.status, ThreadStatus::Closed);
    kit.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_answer_is_lost_happens_once() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1, 1]).await;
    let proxy = FaultProxy::start(kit.server.address(), 7).await.unwrap();
    let url = format!("nats://{}", proxy.address());
    let _router = kit.router_at(url, Turns::Together, "behind a proxy").await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    kit.assigned(1).await;
    kit.come(agent(2)).await;
    for round in 0..6_u128 {
        let bytes = 40 + 170 * u64::try_from(round).unwrap();
        proxy.inject(Fault::CutAfter { direction: Direction::ToServer, bytes });
        let (from, to) = (1 + round % 2, 2 - round % 2);
        let request = chat::command(by(from), to_agent(1, to));
        let answer = wait_for(SOON, "the transfer to be answered", async || {
            proxy.heal();
            chat::ask(&kit.bus, SHARD, TENANT, &request, SOON).await
        })
        .await;
        assert!(matches!(answer, Answer::Thread { assignee_id: Some(id), .. } if id == agent(to)));
    }
    let transfers = kit.everything().await;
    let transfers = transfers.iter().filter(|logged| logged.event.body.name() == "transferred");
    assert_eq!(transfers.count(), 6);
    kit.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_agents_who_take_one_thread_at_once_one_has_it_and_the_others_are_told() {
    let rounds = if long() { 1000 } else { 40 };
    let mut kit = Kit::new().await;
    kit.configure(Strategy::Manual, &[10; AGENTS as usize]).await;
    let _one = kit.router(Turns::Together).await;
    let _two = kit.router(Turns::Together).await;
    for n in 1..=AGENTS {
        kit.come(agent(n)).await;
    }
    for round in 1..=rounds {
        kit.start(round).await;
        let kit = &kit;
        let one = |n| kit.ask(by(n), take(round));
        let outcomes = join_all((1..=AGENTS).map(one)).await;
        let won = (1..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| agent(n));
        let won: Vec<_> = won.collect();
        assert_eq!(won, [kit.life(round).await.assignee_id.unwrap()], "round {round}");
        let told = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(|error| error.code));
        let told: Vec<_> = told.filter(|code| *code == ErrorCode::AlreadyAssigned).collect();
        assert_eq!(told.len() as u128, AGENTS - 1, "round {round}: {outcomes:?}");
        kit.ask(supervisor(), close(round)).await.unwrap();
    }
    kit.check().await;
}
