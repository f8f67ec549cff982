use std::path::PathBuf;

use codash_paper_exchange::{PaperServer, PaperSettings, StartError};

use super::client::{Paper, settings};

struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("codash-paper-{}-{name}.jsonl", std::process::id()));
        drop(std::fs::remove_file(&path));
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_exchange_is_the_same_exchange() {
    let file = TempFile::new("restart");
    let kept = || PaperSettings { journal: Some(file.0.clone()), ..settings() };
    let paper = Paper::start(kept()).await;
    paper.fund().await;
    let key = paper.trade_key();
    for side in ["BUY", "SELL", "BUY"] {
        let order = format!("symbol=BTCUSDT&side={side}&type=MARKET&quantity=0.02");
        assert_eq!(paper.signed(&key, "POST", "/fapi/v1/order", &order).await.status, 200);
        paper.server.move_to(paper.server.now() + 3_600_000).await.unwrap();
    }
    let see = async |paper: &Paper| {
        let mut seen = Vec::new();
        for path in ["/fapi/v1/income", "/fapi/v3/account", "/api/v3/account"] {
            seen.push(paper.read(&key, path, "").await.json());
        }
        seen.push(paper.read(&key, "/fapi/v1/userTrades", "symbol=BTCUSDT").await.json());
        (paper.server.now(), seen)
    };
    let before = see(&paper).await;
    paper.server.stop().await;
    // Something was being written when the light went out.
    let mut text = std::fs::read_to_string(&file.0).unwrap();
    text.push_str("{\"at\":17");
    std::fs::write(&file.0, &text).unwrap();
    let paper = Paper::start(kept()).await;
    assert_eq!(see(&paper).await, before);
    paper.server.stop().await;

    let other = PaperSettings { seed: 99, ..kept() };
    let refused = PaperServer::start(other, std::sync::Arc::new(|| 0)).await;
    assert!(matches!(refused.err(), Some(StartError::OtherJournal { .. })));
}
