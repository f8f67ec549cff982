use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{DAY, Key, ORIGIN, Paper, settings};

/// Fifty market orders a side, so that there is something to page through whoever else trades.
async fn trade(paper: &Paper, count: usize) -> Key {
    paper.fund().await;
    let key = paper.trade_key();
    for n in 0..count {
        let side = if n % 2 == 0 { "BUY" } else { "SELL" };
        let order = format!("symbol=BTCUSDT&side={side}&type=MARKET&quantity=0.01");
        let placed = paper.signed(&key, "POST", "/fapi/v1/order", &order).await;
        assert_eq!(placed.json()["status"], "FILLED", "{placed:?}");
        let placed = paper.signed(&key, "POST", "/api/v3/order", &order).await;
        assert_eq!(placed.json()["status"], "FILLED", "{placed:?}");
        paper.server.move_to(paper.server.now() + 1000).await.unwrap();
    }
    key
}

/// Every row of a list that is paged by id.
async fn by_id(paper: &Paper, key: &Key, path: &str, limit: usize) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    let mut from = 0;
    loop {
        let page = paper.read(key, path, &format!("symbol=BTCUSDT&fromId={from}&limit={limit}")).await.rows();
        assert!(page.len() <= limit);
        let ids: Vec<i64> = page.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| *id >= from));
        let Some(last) = ids.last() else { return rows };
        from = last + 1;
        rows.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_all_rows_whatever_their_size() {
    let paper = Paper::start(settings()).await;
    let key = trade(&paper, 20).await;
    for path in ["/fapi/v1/userTrades", "/api/v3/myTrades"] {
        let whole = by_id(&paper, &key, path, 1000).await;
        assert!(whole.len() >= 20, "{path}: {}", whole.len());
        assert_eq!(by_id(&paper, &key, path, 7).await, whole, "{path}");
        let newest = paper.read(&key, path, "symbol=BTCUSDT&limit=5").await.rows();
        assert_eq!(newest[..], whole[whole.len() - 5..], "{path}");
    }
    let income = async |params: &str| paper.read(&key, "/fapi/v1/income", params).await.rows();
    let whole = income("limit=1000").await;
    let mut pages = Vec::new();
    for page in 1.. {
        let rows = income(&format!("limit=9&page={page}")).await;
        if rows.is_empty() {
            break;
        }
        pages.extend(rows);
    }
    assert_eq!(pages, whole);
    let times: Vec<i64> = whole.iter().map(|row| row["time"].as_i64().unwrap()).collect();
    assert!(times.is_sorted());
    // Two halves of a window are the window.
    let (first, last) = (times[0], times[times.len() - 1]);
    let middle = i64::midpoint(first, last);
    let mut halves = income(&format!("startTime={first}&endTime={middle}&limit=1000")).await;
    halves.extend(income(&format!("startTime={}&endTime={last}&limit=1000", middle + 1)).await);
    assert_eq!(halves, whole);
    let commissions = income("incomeType=COMMISSION&limit=1000").await;
    assert_eq!(commissions.len(), whole.iter().filter(|row| row["incomeType"] == "COMMISSION").count());
    let names: BTreeSet<String> = whole.iter().map(|row| format!("{}{}", row["incomeType"], row["tranId"])).collect();
    assert_eq!(names.len(), whole.len());
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_longer_or_older_than_binance_allows_are_refused() {
    let paper = Paper::start(settings()).await;
    let key = paper.read_key(0);
    let code = async |path: &str, params: &str| paper.read(&key, path, params).await.code();
    let now = paper.server.now();
    let week = format!("symbol=BTCUSDT&startTime={ORIGIN}&endTime={}", ORIGIN + 7 * DAY);
    assert_eq!(code("/fapi/v1/userTrades", &week).await.0, 200);
    let more = format!("symbol=BTCUSDT&startTime={ORIGIN}&endTime={}", ORIGIN + 7 * DAY + 1);
    assert_eq!(code("/fapi/v1/userTrades", &more).await, (400, Some(-4165)));
    assert_eq!(code("/api/v3/myTrades", &more).await, (400, Some(-1127)));
    let both = format!("symbol=BTCUSDT&fromId=1&startTime={ORIGIN}");
    assert_eq!(code("/fapi/v1/userTrades", &both).await, (400, Some(-1128)));
    assert_eq!(code("/api/v3/myTrades", &both).await, (400, Some(-1128)));
    let old = format!("symbol=BTCUSDT&startTime={}", now - 93 * DAY);
    assert_eq!(code("/fapi/v1/userTrades", &old).await, (400, Some(-4166)));
    assert_eq!(code("/fapi/v1/userTrades", "").await, (400, Some(-1102)));
    assert_eq!(code("/fapi/v1/userTrades", "symbol=NOPE").await, (400, Some(-1121)));
    assert_eq!(code("/fapi/v1/income", "limit=0").await, (400, Some(-1130)));
    paper.server.stop().await;
}
