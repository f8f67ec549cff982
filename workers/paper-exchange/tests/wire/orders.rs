use serde_json::json;

use super::client::{Paper, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_resting_order_is_listed_and_canceled_once() {
    let paper = Paper::start(settings()).await;
    paper.fund().await;
    let key = paper.trade_key();
    for (family, price_path) in [("/api/v3", "/api/v3/ticker/price"), ("/fapi/v1", "/fapi/v1/ticker/price")] {
        let last = paper.get(&format!("{price_path}?symbol=BTCUSDT")).await.json();
        let whole: i64 = last["price"].as_str().unwrap().split('.').next().unwrap().parse().unwrap();
        let params =
            format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={}", whole * 9 / 10);
        let order = format!("{family}/order");
        let placed = paper.signed(&key, "POST", &order, &params).await.json();
        assert_eq!(placed["status"], "NEW", "{placed}");
        let open = paper.read(&key, &format!("{family}/openOrders"), "symbol=BTCUSDT").await.rows();
        assert_eq!(open.iter().map(|of| &of["orderId"]).collect::<Vec<_>>(), [&placed["orderId"]]);
        let by_name = format!("symbol=BTCUSDT&origClientOrderId={}", placed["clientOrderId"].as_str().unwrap());
        assert_eq!(paper.read(&key, &order, &by_name).await.json()["orderId"], placed["orderId"]);
        let named = format!("symbol=BTCUSDT&orderId={}", placed["orderId"]);
        let canceled = paper.signed(&key, "DELETE", &order, &named).await.json();
        assert_eq!(canceled["status"], "CANCELED", "{canceled}");
        assert_eq!(paper.signed(&key, "DELETE", &order, &named).await.code(), (400, Some(-2011)));
        assert_eq!(paper.read(&key, &order, "symbol=BTCUSDT&orderId=1").await.code(), (400, Some(-2013)));
        assert_eq!(paper.read(&key, &order, "symbol=BTCUSDT").await.code(), (400, Some(-1102)));
    }
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_order_lives_at_the_algo_endpoints() {
    let paper = Paper::start(settings()).await;
    paper.fund().await;
    let key = paper.trade_key();
    let bought = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
    assert_eq!(paper.signed(&key, "POST", "/fapi/v1/order", bought).await.status, 200);
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=1000&closePosition=true";
    let placed = paper.signed(&key, "POST", "/fapi/v1/algoOrder", stop).await.json();
    assert_eq!((&placed["algoStatus"], &placed["orderType"]), (&json!("NEW"), &json!("STOP_MARKET")), "{placed}");
    let open = paper.read(&key, "/fapi/v1/openAlgoOrders", "symbol=BTCUSDT").await.rows();
    assert_eq!(open[0]["algoId"], placed["algoId"]);
    let named = format!("algoId={}", placed["algoId"]);
    assert_eq!(paper.signed(&key, "DELETE", "/fapi/v1/algoOrder", &named).await.json()["code"], "200");
    assert_eq!(paper.read(&key, "/fapi/v1/algoOrder", &named).await.json()["algoStatus"], "CANCELED");
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_between_wallets_and_is_seen_on_both_sides() {
    let paper = Paper::start(settings()).await;
    paper.fund().await;
    let key = paper.trade_key();
    let transfers = paper.read(&key, "/sapi/v1/asset/transfer", "type=MAIN_UMFUTURE").await.json();
    let row = &transfers["rows"][0];
    assert_eq!(
        (&row["asset"], &row["amount"], &row["status"]),
        (&json!("USDT"), &json!("100000"), &json!("CONFIRMED"))
    );
    let income = paper.read(&key, "/fapi/v1/income", "incomeType=TRANSFER&limit=1000").await.rows();
    let last = income.last().unwrap();
    assert_eq!((&last["income"], &last["tranId"]), (&json!("100000.00000000"), &row["tranId"]));
    let deposits = paper.read(&key, "/sapi/v1/capital/deposit/hisrec", "coin=BNB").await.rows();
    assert_eq!(deposits[0]["amount"], "5");
    let gone = paper.signed(&key, "POST", "/sapi/v1/capital/withdraw/apply", "coin=BNB&address=x&amount=1").await;
    assert_eq!(gone.status, 200, "{gone:?}");
    let withdrawals = paper.read(&key, "/sapi/v1/capital/withdraw/history", "").await.rows();
    assert_eq!((&withdrawals[0]["coin"], &withdrawals[0]["id"]), (&json!("BNB"), &gone.json()["id"]));
    paper.server.stop().await;
}
