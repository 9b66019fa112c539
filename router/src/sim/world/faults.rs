//! What goes wrong: processes that crash and pause, links that break, leaders that change, clocks that jump.

use super::{World, agenda::To, setting::SKEW_MS};

impl World {
    pub fn begin_faults(&mut self) {
        let first = self.random.between(100, 2 * self.setting.faults_every);
        self.after(first, To::World, "a fault", World::something_fails);
    }

    fn something_fails(&mut self) {
        if self.calm {
            return;
        }
        let next = self.random.between(1, 2 * self.setting.faults_every);
        self.after(next, To::World, "a fault", World::something_fails);
        let (router, edge) = (self.random.below(self.routers.len()), self.random.below(self.edges.len()));
        match self.random.below(100) {
            0..14 => {
                let back_in = self.random.between(50, 4_000);
                self.note(|| format!("router {router} crashes"));
                self.crash_router(router, back_in);
            }
            14..26 => {
                let until = self.now + self.for_ms(100, 9_000);
                self.note(|| format!("router {router} pauses"));
                let paused = &mut self.routers[router].paused_until;
                *paused = until.max(*paused);
            }
            26..38 => self.cut_router(router),
            38..50 => {
                let until = self.now + self.for_ms(100, 6_000);
                self.note(|| format!("router {router} lags"));
                self.routers[router].lags_until = until;
            }
            50..64 => {
                let for_ms = self.random.between(50, 1_500);
                self.note(|| "the leader changes".into());
                self.lose_leader(for_ms);
            }
            64..68 => {
                let for_ms = self.random.between(2_000, 15_000);
                self.note(|| "the bus is away".into());
                self.lose_leader(for_ms);
            }
            68..76 => {
                let back_in = self.random.between(100, 8_000);
                self.note(|| format!("edge {edge} crashes"));
                self.crash_edge(edge, back_in);
            }
            76..83 => self.cut_edge(edge),
            83..90 => self.jump(router),
            _ => {
                let n = self.draw_agent();
                let capacity = u32::try_from(self.random.below(5)).unwrap_or(1);
                let deleted = self.random.chance(120);
                self.note(|| format!("agent {n} is configured: {capacity}, deleted: {deleted}"));
                self.configure_agent(n, capacity, deleted);
            }
        }
    }

    fn for_ms(&mut self, from: u64, to: u64) -> i64 {
        i64::try_from(self.random.between(from, to)).unwrap_or(0)
    }

    fn cut_router(&mut self, n: usize) {
        self.note(|| format!("router {n} is cut off"));
        self.routers[n].linked = false;
        let to = self.to(n);
        let for_ms = self.random.between(100, 8_000);
        self.after(for_ms, to, "is linked again", move |world| world.link_router(n));
    }

    pub fn link_router(&mut self, n: usize) {
        self.routers[n].linked = true;
        self.deliver_soon(n);
    }

    fn cut_edge(&mut self, n: usize) {
        if !self.edges[n].up {
            return;
        }
        self.note(|| format!("edge {n} is cut off"));
        self.note_reachable(n);
        self.edges[n].linked = false;
        let to = self.to_edge(n);
        let for_ms = self.random.between(100, 12_000);
        self.after(for_ms, to, "is linked again", move |world| {
            (world.edges[n].linked, world.edges[n].linked_at) = (true, world.now);
        });
    }

    /// A tame clock stays near the bus's.
    fn jump(&mut self, n: usize) {
        let far = if self.setting.wild_clocks { 60_000 } else { SKEW_MS };
        let ahead = self.for_ms(0, u64::try_from(2 * far).unwrap_or(1)) - far;
        self.note(|| format!("router {n}'s clock is {ahead} ms ahead"));
        self.routers[n].ahead_ms = ahead;
    }

    /// From now on nothing fails; who is paused goes on when the pause is over.
    pub fn heal(&mut self) {
        self.calm = true;
        if !self.bus_up {
            self.bus_works();
        }
        for n in 0..self.routers.len() {
            if self.setting.wild_clocks {
                // A core that has seen the future stays there: such a process says that it is not ready.
                self.crash_router(n, 0);
            }
            let router = &mut self.routers[n];
            (router.lags_until, router.ahead_ms) = (0, 0);
            self.link_router(n);
            self.restart(n);
        }
        for n in 0..self.edges.len() {
            let now = self.now;
            let edge = &mut self.edges[n];
            if !std::mem::replace(&mut edge.linked, true) {
                edge.linked_at = now;
            }
            self.restart_edge(n);
        }
    }
}
