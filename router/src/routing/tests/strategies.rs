//! Who is asked: remembered agents, offers, limits of groups, opening hours.

use std::time::Duration;

use bus_schema::{
    ErrorCode, Timestamp,
    claims::Role,
    command::{Actor, Command, Outcome},
    config::{MemberPriority, RoutingSettings, WhenOffline},
    hours::{Day, Hours, OpenSpan},
    protocol::GroupStatus,
    signal::TenantSignal,
    state::{CloseReason, DecisionRule, QueueReason, Refusal, Strategy, ThreadStatus},
};

use super::super::{Told, settings::AVOIDED_FOR};
use super::world::*;

fn me(n: u128) -> Actor {
    Actor::agent(agent(n), Role::Agent)
}

fn decline(world: &mut World, n: u128, by: u128) -> Outcome {
    world.command(me(by), Command::Decline { conversation_id: conversation(n), thread_id: None })
}

fn offered(world: &World, n: u128) -> Vec<u128> {
    let number = |id: bus_schema::AgentId| id.uuid().as_u128() - 0xA000;
    world.desk(n).offers.iter().map(|offer| number(offer.agent_id)).collect()
}

#[test]
fn a_visitor_comes_back_to_the_agent_who_knows_them_for_a_time() {
    let mut world = World::with_group(Strategy::Sticky, &[5, 5]);
    world.change_group(1, |group| group.routing.sticky_s = Some(60));
    world.stop_accepting(agent(1));
    world.start(1);
    assert_eq!(world.assignee(1), Some(agent(2)));
    world.close(1, supervisor());
    world.accept(agent(1));
    for n in 2..=4 {
        world.start(n);
    }
    world.restart();
    world.start(1);
    assert_eq!((world.assignee(1), world.decision(1).rule), (Some(agent(2)), DecisionRule::Sticky));
    assert_eq!(world.decision(1).strategy, Some(Strategy::Sticky));
    world.close(1, supervisor());
    world.stop_accepting(agent(2));
    world.start(1);
    assert_eq!(world.assignee(1), Some(agent(1)), "never one who is away");
    assert_eq!(world.decision(1).rule, DecisionRule::LeastLoaded);
    world.close(1, supervisor());
    world.accept(agent(2));
    world.wait(Duration::from_secs(61));
    for n in 5..=8 {
        world.start(n);
    }
    world.close(5, supervisor());
    world.start(1);
    assert_eq!(world.decision(1).rule, DecisionRule::LeastLoaded, "that was too long ago");
    world.check();
}

#[test]
fn who_knows_nobody_goes_by_the_groups_second_strategy() {
    for (second, expected) in [(Strategy::RoundRobin, 2), (Strategy::LeastLoaded, 1)] {
        let mut world = World::with_group(Strategy::Sticky, &[10, 2]);
        world.change_group(1, |group| group.second_strategy = second);
        world.start(1);
        assert_eq!(world.assignee(1), Some(agent(1)));
        world.start(2);
        assert_eq!(world.assignee(2), Some(agent(2)));
        // The first has one of ten, the other one of two; the other's turn came later.
        world.start(3);
        assert_eq!(world.assignee(3), Some(agent(1)));
        world.start(4);
        assert_eq!(world.assignee(4), Some(agent(expected)), "{second:?}");
        let rule = if expected == 2 { DecisionRule::RoundRobin } else { DecisionRule::LeastLoaded };
        assert_eq!((world.decision(4).rule, world.decision(4).strategy), (rule, Some(Strategy::Sticky)));
        world.check();
    }
}

#[test]
fn a_supervisor_of_a_group_gets_nothing_by_themselves_whatever_the_strategy() {
    for strategy in [Strategy::RoundRobin, Strategy::LeastLoaded, Strategy::Sticky, Strategy::Broadcast] {
        let mut world = World::with_group(strategy, &[5]);
        world.change_group(1, |group| {
            group.members[0].priority = MemberPriority::Supervisor;
            group.routing.sticky_s = Some(600);
        });
        world.start(1);
        world.take(1, agent(1), Role::Agent);
        assert_eq!(world.assignee(1), Some(agent(1)), "by hand");
        world.close(1, supervisor());
        // The visitor comes back, others come, and one is sent there.
        world.start(1);
        world.start(2);
        world.configure_group(2, Strategy::LeastLoaded, &[]);
        world.start_in(3, Some(group(2)));
        world.transfer(3, (None, Some(group(1))), true, supervisor());
        for n in 1..=3 {
            assert_eq!((world.assignee(n), offered(&world, n)), (None, vec![]), "{strategy:?}");
        }
        world.check();
    }
}

#[test]
fn a_full_agent_is_not_waited_for() {
    let mut world = World::with_group(Strategy::Sticky, &[1, 1]);
    world.start(1);
    let known = world.assignee(1).unwrap();
    world.close(1, supervisor());
    world.start(2);
    world.start(3);
    world.close(if world.assignee(2) == Some(known) { 3 } else { 2 }, supervisor());
    world.start(1);
    assert!(world.assignee(1).is_some_and(|agent| agent != known));
    world.check();
}

#[test]
fn a_broadcast_thread_is_offered_to_several_and_the_first_has_it() {
    let mut world = World::with_group(Strategy::Broadcast, &[1, 1, 1]);
    world.change_group(1, |group| group.routing.offer_to = Some(2));
    world.start(1);
    assert_eq!(world.life_kinds(1), ["started", "queued"]);
    assert_eq!(world.desk(1).queue.as_ref().unwrap().reason, QueueReason::Offered);
    assert_eq!(offered(&world, 1), [1, 2]);
    world.check();
    assert_eq!(code(&decline(&mut world, 1, 3)), Some(ErrorCode::Conflict), "it was not offered to them");
    assert_eq!(code(&world.take(1, agent(2), Role::Agent)), None);
    assert_eq!(code(&world.take(1, agent(1), Role::Agent)), Some(ErrorCode::AlreadyAssigned));
    assert_eq!(world.decision(1).rule, DecisionRule::OfferAccepted);
    assert!(world.desk(1).offers.is_empty());
    world.check();
}

#[test]
fn who_declines_is_not_asked_again_while_others_can_be() {
    let mut world = World::with_group(Strategy::Broadcast, &[1, 1, 1]);
    world.change_group(1, |group| group.routing.offer_to = Some(2));
    world.start(1);
    assert_eq!(decline(&mut world, 1, 1), Outcome::DONE);
    assert_eq!(offered(&world, 1), [2]);
    assert_eq!(decline(&mut world, 1, 2), Outcome::DONE);
    assert_eq!(offered(&world, 1), [3], "nobody else is left");
    assert_eq!(decline(&mut world, 1, 3), Outcome::DONE);
    assert_eq!(offered(&world, 1), []);
    world.check();
    world.wait(AVOIDED_FOR + Duration::from_secs(1));
    assert_eq!(offered(&world, 1), [1, 2], "rather they than nobody");
    assert_eq!(world.routing.counters().mended, 0);
}

#[test]
fn an_offer_that_ends_goes_to_others_once_also_after_a_restart() {
    let mut world = World::with_group(Strategy::Broadcast, &[1, 1, 1]);
    world.change_group(1, |group| {
        (group.routing.offer_to, group.routing.offer_s) = (Some(2), Some(10));
    });
    world.start(1);
    world.wait(Duration::from_millis(9_500));
    assert_eq!(offered(&world, 1), [1, 2]);
    world.restart();
    world.wait(Duration::from_secs(1));
    assert_eq!(offered(&world, 1), [3]);
    world.wait(Duration::from_secs(5));
    assert_eq!(world.kinds("offered"), 2);
    world.wait(Duration::from_secs(10));
    assert_eq!(offered(&world, 1), [1, 2], "those who let it pass are asked again");
    assert_eq!(world.routing.counters().mended, 0);
    world.check();
}

#[test]
fn offers_end_with_whoever_could_accept_them() {
    let mut world = World::with_group(Strategy::Broadcast, &[1, 1]);
    world.change_group(1, |group| group.routing.offer_to = Some(1));
    world.start(1);
    world.start(2);
    assert_eq!((offered(&world, 1), offered(&world, 2)), (vec![1], vec![1]));
    assert_eq!(code(&world.take(1, agent(1), Role::Agent)), None);
    assert_eq!(offered(&world, 2), [2], "the first is full");
    world.stop_accepting(agent(2));
    world.wait(Duration::from_secs(31));
    world.check();
    world.accept(agent(2));
    assert_eq!(offered(&world, 2), [2]);
}

#[test]
fn an_agent_holds_no_more_of_a_groups_threads_than_its_limit() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[10]);
    world.configure_group(2, Strategy::LeastLoaded, &[agent(1)]);
    world.change_group(1, |group| group.routing.agent_max = Some(2));
    for n in 1..=3 {
        world.start(n);
    }
    assert_eq!([1, 2, 3].map(|n| world.assignee(n).is_some()), [true, true, false]);
    assert_eq!(world.decision(3).candidates[0].refused, Some(Refusal::AtCapacity));
    assert_eq!(code(&world.take(3, agent(1), Role::Agent)), Some(ErrorCode::OverCapacity));
    assert_eq!(code(&world.assign(3, agent(1), supervisor())), Some(ErrorCode::OverCapacity));
    world.start_in(4, Some(group(2)));
    assert_eq!(world.assignee(4), Some(agent(1)), "another group's do not count");
    world.check();
    world.restart();
    world.close(1, supervisor());
    assert_eq!(world.assignee(3), Some(agent(1)));
    world.start(5);
    world.change_group(1, |group| group.routing.agent_max = None);
    assert_eq!(world.assignee(5), Some(agent(1)), "at once when there is no limit any more");
    world.check();
}

/// Fridays from nine to five in London, where it is the time of the bus.
fn fridays() -> Hours {
    let span = OpenSpan { day: Day::Fri, from: "09:00".into(), to: "17:00".into() };
    Hours { time_zone: "Europe/London".into(), open: vec![span] }
}

/// Friday 20 November 2026, some minutes before the group opens.
pub fn before_opening(world: &mut World) {
    world.now = Timestamp::parse("2026-11-20T08:58:00.000Z").unwrap();
    world.wait(Duration::from_secs(1));
    world.change_group(1, |group| group.routing.hours = Some(fridays()));
}

#[test]
fn outside_its_hours_a_group_keeps_threads_until_it_opens() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    before_opening(&mut world);
    world.start(1);
    assert_eq!(world.life_kinds(1), ["started", "queued"]);
    assert_eq!(world.desk(1).queue.as_ref().unwrap().reason, QueueReason::OutsideHours);
    world.wait(Duration::from_secs(60));
    assert_eq!(world.assignee(1), None);
    world.check();
    world.told.clear();
    world.restart();
    world.wait(Duration::from_secs(60));
    assert_eq!(world.assignee(1), Some(agent(1)), "it opened");
    let told = |status| {
        Told::Tenant(
            bus_schema::subject::TenantTopic::Groups,
            TenantSignal::Group { group_id: group(1), status },
        )
    };
    assert!(world.told.contains(&told(GroupStatus::Online)));
    world.now = Timestamp::parse("2026-11-20T16:59:59.000Z").unwrap();
    world.wait(Duration::from_secs(2));
    assert!(world.told.contains(&told(GroupStatus::Offline)));
    world.start(2);
    assert_eq!(world.assignee(2), None);
    assert_eq!(code(&world.take(2, agent(1), Role::Agent)), None, "people may");
    assert_eq!(world.routing.counters().mended, 0);
    world.check();
}

#[test]
fn outside_its_hours_a_group_that_closes_turns_starts_away_though_somebody_is_there() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    before_opening(&mut world);
    world.change_group(1, |group| group.when_offline = WhenOffline::Close);
    let admit =
        || Command::Admit { conversation_id: conversation(4), group_id: Some(group(1)), widget_id: None };
    assert_eq!(code(&world.command(Actor::SYSTEM, admit())), Some(ErrorCode::GroupOffline));
    world.start(1);
    assert_eq!(world.closed(1), Some(CloseReason::GroupOffline));
    let away = world.transfer(1, (None, Some(group(1))), true, supervisor());
    assert_eq!(code(&away), Some(ErrorCode::ThreadClosed));
    world.wait(Duration::from_secs(150));
    assert_eq!(code(&world.command(Actor::SYSTEM, admit())), None);
}

#[test]
fn the_tenants_hours_are_those_of_groups_that_have_none() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    world.now = Timestamp::parse("2026-11-21T12:00:00.000Z").unwrap();
    world.wait(Duration::from_secs(1));
    world.configure_tenant(RoutingSettings { hours: Some(fridays()), ..RoutingSettings::default() });
    world.start(1);
    assert_eq!(world.assignee(1), None);
    world.configure_tenant(RoutingSettings::default());
    assert_eq!(world.assignee(1), Some(agent(1)), "at once");
    world.check();
}

#[test]
fn supervisors_of_a_group_are_never_offered_anything_and_others_in_their_order() {
    let mut world = World::with_group(Strategy::Broadcast, &[1, 1, 1]);
    world.change_group(1, |group| {
        group.routing.offer_to = Some(1);
        group.members[0].priority = MemberPriority::Supervisor;
        group.members[1].priority = MemberPriority::Last;
        group.members[2].priority = MemberPriority::First;
    });
    world.start(1);
    assert_eq!(offered(&world, 1), [3]);
    decline(&mut world, 1, 3);
    assert_eq!(offered(&world, 1), [2]);
    assert_eq!(world.life(1).status, ThreadStatus::Queued);
    world.check();
}

#[test]
fn the_tenants_limit_of_a_group_holds_where_it_has_none_and_zero_lifts_it() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[9]);
    world.configure_tenant(RoutingSettings { agent_max: Some(2), ..RoutingSettings::default() });
    for n in 1..=4 {
        world.start(n);
    }
    assert_eq!((world.load(agent(1)), world.assignee(3)), (2, None));
    assert_eq!(world.decision(3).candidates[0].refused, Some(Refusal::AtCapacity));
    assert_eq!(code(&world.take(3, agent(1), Role::Agent)), Some(ErrorCode::OverCapacity));
    world.configure_group(2, Strategy::LeastLoaded, &[agent(1)]);
    world.change_group(2, |group| group.routing.agent_max = Some(0));
    for n in 5..=7 {
        world.start_in(n, Some(group(2)));
        assert_eq!(world.assignee(n), Some(agent(1)), "it has no limit");
    }
    world.change_group(1, |group| group.routing.agent_max = Some(3));
    assert_eq!(
        [3, 4].map(|n| world.assignee(n).is_some()),
        [true, false],
        "its own counts before the tenant's"
    );
    world.change_group(1, |group| group.routing.agent_max = Some(0));
    assert_eq!((world.load(agent(1)), world.assignee(4)), (7, Some(agent(1))));
    world.check();
}
