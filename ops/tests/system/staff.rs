//! Agents of the demo tenant, made and logged in as an admin would.

use bus_schema::{GroupId, state::RoutingStatus};
use ops::client::{Client, Http, Options, Tokens};
use serde_json::{Value, json};

use crate::world::World;

pub const PASSWORD: &str = "a-long-enough-passphrase-for-tests";

/// An admin's access to the tenant.
pub struct Admin {
    pub http: Http,
    pub url: String,
    pub token: String,
    pub group: GroupId,
}

impl Admin {
    pub async fn login(world: &World) -> Self {
        let http = Http::new().unwrap();
        let url = world.var("CHATBUS_ADMIN_URL");
        let (email, password) = (world.var("CHATBUS_ADMIN_EMAIL"), world.var("CHATBUS_ADMIN_PASSWORD"));
        let session = http.staff_login(&url, &email, &password).await.unwrap();
        let token = session.tokens.access_token;
        let groups: Value = http.get(&format!("{url}/v1/groups"), &token).await.unwrap();
        let group = groups["data"][0]["id"].as_str().unwrap().parse().unwrap();
        Self { http, url, token, group }
    }

    /// Makes an agent of the first group and logs in; accepting as soon as it is connected.
    pub async fn agent(&self, world: &World, name: &str, capacity: u32) -> Client {
        self.agent_with(world, name, capacity, |options| options.pushes = 0).await
    }

    /// The same with a client of another making.
    pub async fn agent_with(
        &self,
        world: &World,
        name: &str,
        capacity: u32,
        adjust: impl FnOnce(&mut Options),
    ) -> Client {
        let email = format!("{name}@example.com");
        let body = json!({
            "email": email, "name": name, "role": "agent", "capacity": capacity,
            "group_ids": [self.group], "password": PASSWORD,
        });
        let _: Value = self.http.post(&format!("{}/v1/agents", self.url), &self.token, &body).await.unwrap();
        let tokens = Tokens::staff(self.http.clone(), &self.url, &email, PASSWORD);
        let mut options = Options::new(world.edge_urls(), tokens);
        options.status = Some(RoutingStatus::Accepting);
        options.first_edge = name.bytes().map(usize::from).sum();
        adjust(&mut options);
        Client::start(options)
    }
}
