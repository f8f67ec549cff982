use super::*;

/// Everything that leads, in some spelling, to where no webhook may go.
const FORBIDDEN: &[&str] = &[
    // This machine.
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/x",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.255.255.254/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://0x7f.1/",
    "https://127.0.0.1./",
    "https://%31%32%37.0.0.1/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://①②⑦.0.0.1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://a.localhost/",
    "https://localhost.localdomain/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000::0001]:443/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://0/",
    "https://0.0.0.0/",
    "https://0.1.2.3/",
    "https://[::]/",
    // Private networks.
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://0xa000001/",
    "https://012.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://192.168.1/",
    "https://3232235521/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:c0a8:1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456:789a::1]/",
    "https://router.local/",
    "https://printer.lan/",
    "https://metadata.google.internal/",
    "https://intranet/",
    "https://gateway.home.arpa/",
    // Link-local, and the metadata services of clouds.
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fe80::1]/",
    "https://[febf::1]/",
    "https://[fd00:ec2::254]/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    // Carriers, relays, translations.
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://192.88.99.1/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001::1]/",
    "https://[2001:20::1]/",
    "https://[5f00::1]/",
    "https://[100::1]/",
    // Documentation, benchmarks, multicast, reserved.
    "https://192.0.2.1/",
    "https://198.51.100.7/",
    "https://203.0.113.7/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[ff02::1]/",
    "https://[fec0::1]/",
    // Not https, or dressed up.
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "https://user:password@example.com/",
    "https://@example.com/",
    "https://example.com\\@127.0.0.1/",
];

#[test]
fn no_spelling_of_a_forbidden_address_passes() {
    for url in FORBIDDEN {
        assert!(check_url(url, Reach::Public).is_err(), "{url}");
    }
}

#[test]
fn what_is_no_plain_address_is_refused() {
    for url in [
        "",
        "example.com",
        "//example.com",
        "https://",
        "https:///x",
        "https:///example.com/",
        "https:example.com/",
        "https:/example.com/",
        "https://..example.com/",
        "https://*.example.com/",
        "https://exa mple.com/",
        "https://example.com/#x",
        "https://example.com/\n",
        "javascript:alert(1)",
        "https://[::1",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
    ] {
        assert!(check_url(url, Reach::Public).is_err(), "{url}");
    }
    assert!(check_url(&format!("https://example.com/{}", "x".repeat(3000)), Reach::Public).is_err());
}

#[test]
fn public_addresses_and_names_pass() {
    for url in [
        "https://example.com/hook?x=1",
        "https://example.com:8443/",
        "https://1.1.1.1/",
        "https://9.255.255.255/",
        "https://11.0.0.0/",
        "https://100.63.255.255/",
        "https://100.128.0.0/",
        "https://172.15.255.255/",
        "https://172.32.0.0/",
        "https://[2606:4700:4700::1111]/",
        "https://[2001:200::1]/",
        "https://xn--bcher-kva.example/",
    ] {
        assert!(check_url(url, Reach::Public).is_ok(), "{url}");
    }
}

#[test]
fn the_operators_leave_opens_this_machine_and_nothing_else() {
    for url in ["http://127.0.0.1:9/", "http://localhost:9/", "https://[::1]/", "http://[::ffff:127.0.0.1]/"] {
        assert!(check_url(url, Reach::Local).is_ok(), "{url}");
    }
    for url in [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[fd00::1]/",
        "http://u:p@127.0.0.1/",
        "ftp://127.0.0.1/",
    ] {
        assert!(check_url(url, Reach::Local).is_err(), "{url}");
    }
}

async fn resolved(addresses: &[&str]) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<SocketAddr> = addresses.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect();
    let lookup: Lookup = Arc::new(move |_| {
        let found = found.clone();
        Box::pin(async move { Ok(found) })
    });
    let guarded = Guarded { reach: Reach::Public, lookup };
    guarded.resolve("example.com".parse().unwrap()).await.map(Iterator::collect).map_err(|e| e.to_string())
}

#[tokio::test]
async fn a_name_is_judged_by_every_address_that_it_has() {
    assert_eq!(resolved(&["1.1.1.1", "2606:4700::1"]).await.unwrap().len(), 2);
    for addresses in [
        &["127.0.0.1"][..],
        &["1.1.1.1", "10.0.0.1"],
        &["2606:4700::1", "::ffff:169.254.169.254"],
        &["64:ff9b::a00:1"],
        &["2002:a00:1::"],
        &[],
    ] {
        assert!(resolved(addresses).await.is_err(), "{addresses:?}");
    }
}
