//! Quotas through the API: any member takes them, a retry changes nothing twice, a restart forgets nothing.

use berth_core::error::Code;
use berth_proto::{
    api::v1::{LendQuotaRequest, ReturnLoanRequest, SetQuotaRequest, ShowQuotaRequest, quotas_client::QuotasClient},
    status::from_status,
};

use crate::api_fleet::{Fleet, channel, fresh_id};

fn set(project: &str, family: &str, milli: u64) -> SetQuotaRequest {
    SetQuotaRequest {
        request_id: fresh_id(),
        project: project.to_owned(),
        limits_milli: [(family.to_owned(), milli)].into(),
        ..SetQuotaRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_outlives_its_coordinator_and_a_retry_lends_once() {
    let mut fleet = Fleet::start(1).await;
    let quotas = |fleet: &Fleet| QuotasClient::new(channel(fleet.members[0].address));
    let mut client = quotas(&fleet);
    fleet.endpoints(0).put(crate::api_fleet::endpoint_request("fraud", &fresh_id())).await.expect("created");

    let report = client.set(set("default", "CPU", 300)).await.expect("set").into_inner();
    assert_eq!((report.quotas[0].family.as_str(), report.quotas[0].free_milli), ("cpu", Some(300)));
    fleet.put_deployment(0, "fraud", "blue", 2).await.expect("three places of a tenth of a core");
    let refused = fleet.put_deployment(0, "fraud", "green", 1).await.expect_err("two more");
    assert_eq!(refused.code, Code::Quota);

    client.set(set("", "cpu", 500)).await.expect("a pool");
    let lend = LendQuotaRequest {
        request_id: fresh_id(),
        project: "default".into(),
        family: "cpu".into(),
        milli: 200,
        within_ms: 3_600_000,
    };
    let loan = client.lend(lend.clone()).await.expect("lent").into_inner();
    assert_eq!(client.lend(lend).await.expect("the same again").into_inner(), loan);
    fleet.put_deployment(0, "fraud", "green", 1).await.expect("on loan");

    fleet.members[0].stop().await;
    fleet.members[0].start(None).await;
    let mut client = quotas(&fleet);
    let report = client.show(ShowQuotaRequest::default()).await.expect("shown").into_inner();
    let line = &report.quotas[0];
    assert_eq!((line.used_milli, line.limit_milli, line.lent_milli, line.free_milli), (500, Some(300), 200, Some(0)));
    assert_eq!((report.loans.len(), report.pool[0].lent_milli), (1, 200));

    let back = ReturnLoanRequest { request_id: fresh_id(), loan: loan.loan[..8].to_owned() };
    let first = client.r#return(back.clone()).await.expect("returned").into_inner();
    assert_eq!(client.r#return(back).await.expect("the answer of the first").into_inner(), first);
    let report = client.show(ShowQuotaRequest { project: "default".into() }).await.expect("shown").into_inner();
    assert_eq!((report.quotas[0].over_milli, report.quotas[0].over_since_ms > 0), (200, true));
    let gone = client.r#return(ReturnLoanRequest { request_id: fresh_id(), loan: loan.loan }).await;
    assert_eq!(gone.map(drop).map_err(|status| from_status(&status).code), Err(Code::LoanNotFound));

    let mut wrong = set("team a", "cpus", 1);
    wrong.unlimited = vec!["gqu".into()];
    let status = client.set(wrong).await.expect_err("three mistakes");
    let fields: Vec<_> = from_status(&status).problems.into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["cpus", "gqu", "project"]);
}
