//! `?min_seq=`: no answer is given before the read model is there, and nobody waits for ever.

use futures::future::join_all;

use crate::tenancy::{
    Scene, Tenant,
    targets::{self, Side},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_reads_the_read_model_waits_for_it_and_not_for_ever() {
    let scene = Scene::open().await;
    let tenant = Tenant::open(&scene).await;
    let targets = targets::all();
    let reading = targets.iter().filter(|target| {
        target.side == Side::Admin && target.query.iter().any(|param| param.name == "min_seq")
    });
    let asked = reading.map(async |target| {
        let query: String = target
            .query
            .iter()
            .filter(|param| param.required)
            .map(|param| format!("{}=x&", param.name))
            .collect();
        let url = format!("{}{}?{query}min_seq=", scene.url(target.side), target.filled(&tenant.ids));
        let ask = async |seq: u64| {
            let request = scene.world.http.request(target.method.clone(), format!("{url}{seq}"));
            scene.send(request.bearer_auth(&tenant.admin.token)).await
        };
        let (now, never) = (ask(1).await, ask(99_999_999).await);
        assert_eq!(now.status, 200, "{}: {now:?}", target.name);
        assert_eq!(
            (never.status, &never.json()["code"]),
            (504, &"timeout".into()),
            "{}: {never:?}",
            target.name
        );
    });
    assert!(join_all(asked).await.len() > 10);
}
