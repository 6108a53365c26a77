use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Backend, ErrorKind, Keyspace, Scan, WriteBatch};
use eidetica_core::Memory;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

const SPACE: Keyspace = Keyspace::new(0);

async fn borrow(lender: &Lender) -> (Borrowed, JoinHandle<eidetica_contract::Result<()>>) {
    let (here, there) = duplex(1 << 10);
    let lender = lender.clone();
    let serving = tokio::spawn(async move { lender.serve(here).await });
    (Borrowed::connect(there).await.unwrap(), serving)
}

fn put(key: &str, value: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, key.to_owned(), value.to_owned());
    batch
}

#[tokio::test]
async fn everybody_sees_one_store_and_hears_of_the_others() {
    let lender = Lender::new(Arc::new(Memory::new()));
    let own = lender.own();
    let ((one, _), (two, _)) = (borrow(&lender).await, borrow(&lender).await);
    assert!(own.info().capabilities.shared && one.info().capabilities.shared);
    let all: [&dyn Backend; 3] = [&*own, &one, &two];
    for (writer, key) in all.into_iter().zip(["own", "one", "two"]) {
        let mut before = Vec::new();
        for each in all {
            before.push(each.changed().await.unwrap());
        }
        writer.commit(put(key, key)).await.unwrap();
        for (each, before) in all.into_iter().zip(before) {
            let hears = each.changed().await.unwrap() != before;
            assert_eq!(hears, !std::ptr::addr_eq(each, writer), "{key}");
            let found = each.snapshot().await.unwrap().get(SPACE, key.as_bytes()).await.unwrap();
            assert_eq!(found.as_deref(), Some(key.as_bytes()));
        }
    }
    // Expectations hold between them.
    let mut late = put("own", "other");
    late.expect_absent(SPACE, "two");
    assert_eq!(one.commit(late).await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Nothing waits for ever, and nothing that is held keeps the lender from ending.
#[tokio::test]
async fn the_end_of_either_side_is_noticed_by_the_other() {
    let lender = Lender::new(Arc::new(Memory::new()));
    let (borrowed, serving) = borrow(&lender).await;
    let view = borrowed.snapshot().await.unwrap();
    serving.abort();
    let _ = serving.await;
    for error in [
        borrowed.commit(put("k", "v")).await.unwrap_err(),
        borrowed.flush().await.unwrap_err(),
        borrowed.changed().await.unwrap_err(),
        borrowed.snapshot().await.err().unwrap(),
        view.get(SPACE, b"k").await.unwrap_err(),
        view.scan(Scan::new(SPACE)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Closed, true), "{error:?}");
    }
    let (borrowed, serving) = borrow(&lender).await;
    let view = borrowed.snapshot().await.unwrap();
    drop(borrowed);
    serving.await.unwrap().unwrap();
    assert_eq!(view.get(SPACE, b"k").await.unwrap_err().kind(), ErrorKind::Closed);
}

/// Where nothing was left to flush the end of the lender has lost nothing.
#[tokio::test]
async fn closing_after_the_lender_is_an_error_only_if_something_may_be_lost() {
    let lender = Lender::new(Arc::new(Memory::new()));
    for (writes, flushes) in [(false, false), (true, false), (true, true)] {
        let (borrowed, serving) = borrow(&lender).await;
        if writes {
            borrowed.commit(put("k", "v")).await.unwrap();
        }
        if flushes {
            borrowed.flush().await.unwrap();
        }
        serving.abort();
        let _ = serving.await;
        let closed = borrowed.close().await;
        assert_eq!(closed.is_err(), writes && !flushes, "{closed:?}");
    }
}

/// A commit that nobody waits for any longer ends all the same, and then the store is as quiet as before.
#[tokio::test]
async fn a_commit_that_is_given_up_ends() {
    let lender = Lender::new(Arc::new(Memory::new()));
    let (own, other) = (lender.own(), lender.own());
    {
        let mut committing = Box::pin(own.commit(put("k", "v")));
        assert!(is_pending(&mut committing).await);
    }
    let committed = async || other.snapshot().await.unwrap().get(SPACE, b"k").await.unwrap().is_some();
    while !committed().await || other.changed().await.unwrap() != other.changed().await.unwrap() {
        tokio::task::yield_now().await;
    }
}

/// Polls once; true if it is not done.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending()))
        .await
}

/// Snapshots are let go of when they are dropped, wherever that happens, or a borrower would soon have none left.
#[tokio::test]
async fn snapshots_that_are_dropped_are_gone_at_the_lender() {
    let lender = Lender::new(Arc::new(Memory::new()));
    let (borrowed, _serving) = borrow(&lender).await;
    for n in 0..2500 {
        let taking = borrowed.snapshot();
        match n % 2 {
            0 => drop(taking.await.unwrap()),
            // Given up at some moment on its way.
            _ => drop(tokio::time::timeout(Duration::from_micros(n % 40), taking).await),
        }
    }
    let mut held = Vec::new();
    let error = loop {
        match borrowed.snapshot().await {
            Ok(view) => held.push(view),
            Err(error) => break error,
        }
    };
    assert_eq!((held.len(), error.kind()), (1000, ErrorKind::TooLarge), "{error:?}");
    held.clear();
    borrowed.snapshot().await.unwrap();
}

/// The other end of the stream, without a borrower.
async fn stranger(lender: &Lender) -> (DuplexStream, JoinHandle<eidetica_contract::Result<()>>) {
    let (here, mut there) = duplex(1 << 10);
    let lender = lender.clone();
    let serving = tokio::spawn(async move { lender.serve(here).await });
    let mut length = [0; 4];
    there.read_exact(&mut length).await.unwrap();
    let mut hello = vec![0; u32::from_be_bytes(length) as usize];
    there.read_exact(&mut hello).await.unwrap();
    (there, serving)
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_nothing_else() {
    let lender = Lender::new(Arc::new(Memory::new()));
    let (borrowed, _serving) = borrow(&lender).await;
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x01\xff", b"\0\0\0\x03abc", b"\0\0", b"\0\0\x10\0short"] {
        let (mut stream, serving) = stranger(&lender).await;
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(serving.await.unwrap().is_err(), "{nonsense:?}");
    }
    borrowed.commit(put("k", "v")).await.unwrap();
}

#[tokio::test]
async fn a_lender_of_another_version_and_no_lender_at_all_are_told() {
    for (said, kind) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], ErrorKind::InvalidInput),
        (b"", ErrorKind::Closed),
        (b"\0\0", ErrorKind::Closed),
    ] {
        let (mut here, there) = duplex(1 << 10);
        here.write_all(said).await.unwrap();
        drop(here);
        assert_eq!(Borrowed::connect(there).await.err().unwrap().kind(), kind, "{said:?}");
    }
    let mut hello = crate::spoken::Hello::of(Memory::new().info());
    hello.version += 1;
    let (mut here, there) = duplex(1 << 10);
    here.write_all(&crate::spoken::frame(&hello).unwrap()).await.unwrap();
    assert_eq!(Borrowed::connect(there).await.err().unwrap().kind(), ErrorKind::Unsupported);
}

/// Whether it was applied is not known, and so it must not be said that it was not.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_told_as_such() {
    let (mut here, there) = duplex(1 << 10);
    let hello = crate::spoken::frame(&crate::spoken::Hello::of(Memory::new().info())).unwrap();
    here.write_all(&hello).await.unwrap();
    let borrowed = Borrowed::connect(there).await.unwrap();
    let reading = async {
        here.read_u32().await.unwrap();
        drop(here);
    };
    let (result, ()) = tokio::join!(borrowed.commit(put("k", "v")), reading);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
}
