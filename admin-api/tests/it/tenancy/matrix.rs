//! Who may call what, with whose ids: every route with every kind of caller, against a committed table of statuses; and
//! what is another tenant's is answered as what is nobody's, in every byte.

use std::{fmt::Write as _, path::Path};

use bus_schema::{Timestamp, WidgetId, claims::Role};
use ops::{
    auth::{Audience, KeySet, SigningKey, StaffGrant, VisitorGrant, mint_staff, mint_visitor},
    testing::held_to,
};

use super::{
    answer::Answer,
    bodies::body,
    scene::Scene,
    targets::{self, Place, Side, Slot, Target},
    tenant::{Ids, Tenant, file},
};
use crate::world::Person;

const ABSENT: &str = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    None,
    Garbage,
    Expired,
    /// The visitor of the things that are asked for.
    Visitor,
    /// Another visitor of that tenant.
    Other,
    /// A visitor's token under the staff's key.
    Crossed,
    Revoked,
    /// In the group of what is asked for.
    Agent,
    /// In no group.
    Outsider,
    Supervisor,
    Admin,
    /// A program of the tenant.
    Bot,
    /// The other tenant's admin.
    Foreign,
    /// The other tenant's program.
    ForeignBot,
    /// The other tenant's visitor.
    ForeignVisitor,
}

use Caller::{
    Admin, Agent, Bot, Crossed, Expired, Foreign, ForeignBot, ForeignVisitor, Garbage, None as Nobody, Other,
    Outsider, Revoked, Supervisor, Visitor,
};

const CALLERS: [Caller; 15] = [
    Nobody,
    Garbage,
    Expired,
    Visitor,
    Other,
    Crossed,
    Revoked,
    Agent,
    Outsider,
    Supervisor,
    Admin,
    Bot,
    Foreign,
    ForeignBot,
    ForeignVisitor,
];

impl Caller {
    const fn heading(self) -> &'static str {
        match self {
            Nobody => "none",
            Garbage => "garbage",
            Expired => "expired",
            Visitor => "visitor",
            Other => "other-v",
            Crossed => "crossed",
            Revoked => "revoked",
            Agent => "agent",
            Outsider => "outsider",
            Supervisor => "supervis",
            Admin => "admin",
            Bot => "bot",
            Foreign => "foreign",
            ForeignBot => "foreign-b",
            ForeignVisitor => "foreign-v",
        }
    }

    fn is_foreign(self) -> bool {
        matches!(self, Foreign | ForeignBot | ForeignVisitor)
    }

    /// Of staff whose token counts.
    fn role(self) -> Option<Role> {
        match self {
            Agent | Outsider => Some(Role::Agent),
            Supervisor => Some(Role::Supervisor),
            Admin | Foreign => Some(Role::Admin),
            _ => None,
        }
    }

    fn person(self, of: &Tenant) -> Option<&Person> {
        match self {
            Agent => Some(&of.agent),
            Outsider => Some(&of.outsider),
            Supervisor => Some(&of.supervisor),
            Admin | Foreign => Some(&of.admin),
            _ => None,
        }
    }
}

/// Whose id stands in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The first tenant's: the caller's own, or foreign to a foreign one.
    Theirs,
    Nobodys,
}

/// What is asked for.
type Row<'a> = (&'a Target, Option<(&'a Slot, Whose)>);

struct Matrix {
    scene: Scene,
    tenant: Tenant,
    foreign: Tenant,
    expired: String,
    expired_visitor: String,
    crossed: String,
}

impl Matrix {
    async fn open() -> Self {
        let scene = Scene::open().await;
        let (tenant, foreign) = (Tenant::open(&scene).await, Tenant::open(&scene).await);
        let key = SigningKey::load(Path::new(&scene.world.key_file)).unwrap();
        let keys = KeySet::default();
        keys.add(Audience::Staff, key.public().clone());
        let now = Timestamp::from_millis(chrono::Utc::now().timestamp_millis());
        let claims = ops::auth::verify_staff(&keys, &tenant.admin.token, now).unwrap();
        let grant =
            StaffGrant { agent: claims.sub, tenant: claims.tid, role: Role::Admin, session: claims.sid };
        let visitor = tenant.visit.visitor.parse().unwrap();
        let visitor = VisitorGrant { visitor, tenant: claims.tid, widget: WidgetId::NIL };
        let old = Timestamp::from_millis(now.millis() - 2 * 3_600_000);
        let expired = mint_staff(&key, grant, old).token;
        let expired_visitor = mint_visitor(&scene.visitor_key, visitor, old).token;
        let crossed = mint_visitor(&key, visitor, now).token;
        Self { scene, tenant, foreign, expired, expired_visitor, crossed }
    }

    fn token(&self, caller: Caller, side: Side) -> Option<&str> {
        let home = self.home(caller);
        Some(match caller {
            Nobody => return None,
            Garbage => "garbage",
            Expired if side == Side::Edge => &self.expired_visitor,
            Expired => &self.expired,
            Crossed => &self.crossed,
            Visitor | ForeignVisitor => &home.visit.token,
            Other => &home.other.token,
            Revoked => &home.revoked,
            Agent => &home.agent.token,
            Outsider => &home.outsider.token,
            Supervisor => &home.supervisor.token,
            Admin | Foreign => &home.admin.token,
            Bot | ForeignBot => &home.bot,
        })
    }

    fn home(&self, caller: Caller) -> &Tenant {
        if caller.is_foreign() { &self.foreign } else { &self.tenant }
    }

    /// The ids of a request: in the row's slot whose the row says, elsewhere the caller's own.
    async fn ids(&self, (target, slot): Row<'_>, caller: Caller) -> Ids {
        let home = self.home(caller);
        let lives = matches!(caller, Agent | Supervisor | Admin | Bot)
            || (caller == Outsider && !target.is_of_a_conversation());
        let mut ids = if lives && target.changes() && target.side == Side::Admin {
            home.fresh(&self.scene, caller.person(home).unwrap_or(&home.agent), target).await
        } else {
            home.ids.clone()
        };
        if (target.name, caller) == ("login", Foreign) {
            // Who has the right password may name a tenant.
            ids.insert("email", home.supervisor.email.clone());
        }
        let Some((slot, whose)) = slot else { return ids };
        match whose {
            Whose::Nobodys => drop(ids.insert(slot.kind, ABSENT.to_owned())),
            Whose::Theirs if caller.is_foreign() => {
                drop(ids.insert(slot.kind, self.tenant.ids[slot.kind].clone()));
            }
            Whose::Theirs => {}
        }
        ids
    }

    async fn call(&self, row: Row<'_>, caller: Caller, unique: usize) -> (Answer, Ids) {
        let (target, slot) = row;
        let ids = self.ids(row, caller).await;
        let mut url = format!("{}{}", self.scene.url(target.side), target.filled(&ids));
        let mut and = '?';
        for param in &target.query {
            let asked = slot.is_some_and(|(slot, _)| slot.place == Place::Query(param.name));
            let value = match (asked, param.required) {
                (true, _) => ids[slot.unwrap().0.kind].as_str(),
                // Of a link of the caller's own tenant, or else words.
                (false, true) => ids.get(param.name).map_or("hello", String::as_str),
                (false, false) => continue,
            };
            write!(url, "{and}{}={value}", param.name).unwrap();
            and = '&';
        }
        let mut request = self.scene.world.http.request(target.method.clone(), url);
        let mut token = self.token(caller, target.side).map(str::to_owned);
        if let ("logout", Some(person)) = (target.name, caller.person(self.home(caller))) {
            token = Some(self.scene.world.login(&person.email).await.token);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if target.name == "upload" {
            let (kind, form) = file("x");
            request = request.header("content-type", kind).body(form);
        }
        if let Some(body) = body(target, &format!("u{unique}"), &ids, slot.map(|(slot, _)| slot)) {
            request = request.json(&body);
        }
        (self.scene.send(request).await, ids)
    }
}

fn rows(targets: &[Target]) -> Vec<Row<'_>> {
    let of = |target| -> Vec<Row<'_>> {
        let target: &Target = target;
        let both = |slot| [Whose::Theirs, Whose::Nobodys].map(|whose| (target, Some((slot, whose))));
        let rows: Vec<Row<'_>> = target.slots.iter().flat_map(both).collect();
        if rows.is_empty() { vec![(target, None)] } else { rows }
    };
    targets.iter().flat_map(of).collect()
}

/// What holds whatever the table says; or why not.
fn judge((target, slot): Row<'_>, caller: Caller, answer: &Answer) -> Result<(), &'static str> {
    let status = answer.status;
    let must = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
    must(status != 500, "a fault")?;
    if status >= 400 {
        must(answer.header("content-type") == "application/problem+json", "no problem")?;
        must(answer.json()["request_id"] == answer.header("x-request-id"), "without its request's id")?;
    }
    if let Some(least) = target.least {
        match caller.role() {
            None if matches!(caller, Bot | ForeignBot) => must(status != 401, "a program is somebody")?,
            None => must(status == 401, "nobody is let in")?,
            Some(role) if role < least => must(status == 403, "the role is too low")?,
            // Agents assign to themselves alone.
            Some(_) => {
                must(status != 401 && (status != 403 || target.name == "assign"), "the role is enough")?
            }
        }
    }
    if target.side == Side::Edge && !target.is_public {
        let counts = !matches!(caller, Nobody | Garbage | Expired | Crossed | Revoked | Bot | ForeignBot);
        must((status != 401) == counts, "whose token counts is let in, and nobody else")?;
    }
    // Its key is all that a widget's configuration asks for; what is in no relation may be taken out of it.
    let names = slot.is_some_and(|(slot, _)| slot.place == Place::Path("id"));
    must(!caller.is_foreign() || !names || matches!(status, 401 | 403 | 404), "what is named is not there")
}

impl Matrix {
    /// Of conversations of other groups than their own agents learn nothing, whatever they ask.
    fn judge_outsider(&self, (target, slot): Row<'_>, answer: &Answer) -> Result<(), String> {
        if answer.status >= 400 {
            return Ok(());
        }
        let done = answer.json()["results"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["success"] == true));
        let mut text = answer.text();
        // Each result of many names what was asked for.
        let asked = slot
            .map(|(slot, _)| slot.kind)
            .into_iter()
            .chain((target.name == "bulk").then_some("conversation"));
        asked.for_each(|kind| text = text.replace(&self.tenant.ids[kind], ""));
        let named = target.slots.iter().any(|slot| matches!(slot.place, Place::Path(_)));
        if target.is_of_a_conversation() && (named || done) {
            return Err("what is not theirs is not there".to_owned());
        }
        match self.tenant.of_conversations().into_iter().find(|word| text.contains(*word)) {
            Some(word) => Err(format!("shows {word} of others' conversations")),
            None => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_caller_as_the_committed_table_says_and_foreign_as_absent() {
    let matrix = Matrix::open().await;
    let headings = CALLERS.map(|caller| format!("{:>10}", caller.heading())).concat();
    let mut made = format!("{:<7}{:<46}{:<20}{:<7}{headings}\n", "method", "path", "id", "whose");
    let targets = targets::all();
    let secrets = matrix.tenant.secrets();
    let mut unique = 0;
    let mut wrong = String::new();
    let mut theirs: Vec<String> = Vec::new();
    for row in rows(&targets) {
        let (target, slot) = row;
        let place = slot.map_or_else(|| "-".to_owned(), |(slot, _)| slot.place.to_string());
        let whose = match slot {
            None => "-",
            Some((_, Whose::Theirs)) => "theirs",
            Some((_, Whose::Nobodys)) => "none",
        };
        write!(made, "{:<7}{:<46}{place:<20}{whose:<7}", target.method.as_str(), target.path).unwrap();
        let mut foreign = Vec::new();
        for caller in CALLERS {
            unique += 1;
            let (answer, ids) = matrix.call(row, caller, unique).await;
            if let Err(why) = judge(row, caller, &answer) {
                let at = format!("{} {} {place} ({whose}) by {caller:?}", target.method, target.path);
                writeln!(wrong, "{at}: {why}: {} {}", answer.status, answer.text()).unwrap();
            }
            if caller == Outsider
                && let Err(why) = matrix.judge_outsider(row, &answer)
            {
                let at = format!("{} {} {place} ({whose}) by {caller:?}", target.method, target.path);
                writeln!(wrong, "{at}: {why}: {} {}", answer.status, answer.text()).unwrap();
            }
            write!(made, "{:>10}", answer.status).unwrap();
            // A widget's configuration is public to whoever has its key.
            if !caller.is_foreign() || target.name == "widget_config" {
                continue;
            }
            let asked = slot.map_or(ABSENT, |(slot, _)| ids[slot.kind].as_str());
            foreign.push(answer.masked(asked));
            let all = answer.everything().replace(asked, "");
            for secret in secrets.iter().filter(|secret| all.contains(**secret)) {
                writeln!(wrong, "{} {} by {caller:?} shows {secret}: {all}", target.method, target.path)
                    .unwrap();
            }
        }
        made.push('\n');
        match slot {
            Some((_, Whose::Theirs)) => theirs = foreign,
            Some((slot, Whose::Nobodys)) => {
                for (foreign, absent) in
                    theirs.iter().zip(&foreign).filter(|(foreign, absent)| foreign != absent)
                {
                    let at = format!("{} {} {}", target.method, target.path, slot.place);
                    writeln!(
                        wrong,
                        "{at}: what is foreign\n  {foreign}\nis not as what is absent\n  {absent}"
                    )
                    .unwrap();
                }
            }
            None => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    held_to("admin-api/tests/it/tenancy/matrix.txt", &made, "cargo test -p admin-api --test it matrix");
}
