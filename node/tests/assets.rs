//! The blob store on a real disk: what is kept, what is refused, what is noticed, what is left behind.

#[path = "disk/small.rs"]
mod small;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use raft::types::Digest;
use raftboot::assets::{Declared, Follow, Origin, ReadError, ReceiveError, Received, Reception, Store, UPLOADS_MAX};
use small::SmallDisk;

fn open(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir).expect("a store"))
}

fn pieces(bytes: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, String>> + Unpin + Send + use<> {
    let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

async fn put(store: &Arc<Store>, bytes: &[u8]) -> Received {
    store.receive(&mut pieces(bytes, 10_000), Declared::default()).await.expect("kept")
}

fn read(store: &Store, digest: &Digest) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    store.open_blob(digest)?.read_to_end(&mut bytes).expect("readable");
    Ok(bytes)
}

fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    dir.join("blobs/sha256").join(&name[..2]).join(name)
}

/// Every file below the store's folder, without the folders.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[tokio::test]
async fn bytes_come_back_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for size in [0, 1, 9_999, 1_000_000] {
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let declared = Declared { size: Some(size as u64), digest: Some(Digest::of(&bytes)) };
        let received = store.receive(&mut pieces(&bytes, 777), declared).await.unwrap();
        assert_eq!(received, Received { digest: Digest::of(&bytes), size: size as u64, fresh: true });
        assert_eq!(read(&store, &received.digest).unwrap(), bytes);
        assert_eq!(store.size(&received.digest), Some(size as u64));
    }
    drop(store);
    assert_eq!(read(&open(dir.path()), &Digest::of(b"")).unwrap(), b"", "a new process finds them");
    assert!(files(&dir.path().join("tmp")).is_empty());
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let declared = Declared { size: None, digest: Some(Digest::of(b"kernel")) };
    let error = store.receive(&mut pieces(b"kernfl", 4), declared).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Mismatch { found, .. } if found == Digest::of(b"kernfl")), "{error}");
    for (size, sent) in [(5, 6), (7, 6), (0, 1)] {
        let declared = Declared { size: Some(size), digest: None };
        let error = store.receive(&mut pieces(&b"kernel"[..sent], 4), declared).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Length { .. }), "{error}");
    }
    assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn an_upload_cut_short_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut broken = stream::iter(vec![Ok(Bytes::from_static(b"ker")), Err("connection reset")]);
    let error = store.receive(&mut broken, Declared::default()).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Interrupted(_)), "{error}");

    // The client's task is dropped in the middle; the writer notices by its queue and cleans up on its own.
    let mut endless = pieces(b"ker", 3).chain(stream::pending());
    let cut = tokio::time::timeout(Duration::from_millis(200), store.receive(&mut endless, Declared::default())).await;
    assert!(cut.is_err());
    until(|| files(dir.path()).is_empty()).await;
}

#[tokio::test]
async fn leftovers_of_the_last_process_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("tmp/upload-1-0"), "half").unwrap();
    drop(open(dir.path()));
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn the_same_bytes_twice_keep_the_first_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = put(&store, b"kernel").await;
    let inode = |digest| std::os::unix::fs::MetadataExt::ino(&fs::metadata(blob_path(dir.path(), &digest)).unwrap());
    let before = inode(first.digest);
    let second = put(&store, b"kernel").await;
    assert_eq!((first.fresh, second.fresh), (true, false));
    assert_eq!(inode(first.digest), before);
    assert_eq!(files(dir.path()).len(), 1);
}

#[tokio::test]
async fn damage_is_noticed_quarantined_and_healed_by_a_new_upload() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = put(&store, &[7; 100_000]).await.digest;
    let path = blob_path(dir.path(), &digest);
    assert!(read(&store, &digest).is_ok());

    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"!", 50_000).unwrap();
    assert_eq!(read(&store, &digest), Err(ReadError::Damaged));
    assert_eq!(read(&store, &digest), Err(ReadError::Missing), "it is served no more");
    assert_eq!(store.quarantined(), 1);
    assert!(put(&store, &[7; 100_000]).await.fresh);
    assert_eq!(read(&store, &digest).unwrap(), [7; 100_000]);

    // Shortened and put back to its length: size says nothing, ctime does.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(10).unwrap();
    file.set_len(100_000).unwrap();
    assert_eq!(read(&store, &digest), Err(ReadError::Damaged));
}

#[tokio::test]
async fn damage_done_while_nobody_watched_is_noticed_at_the_first_use() {
    let dir = tempfile::tempdir().unwrap();
    let digest = put(&open(dir.path()), b"kernel").await.digest;
    fs::write(blob_path(dir.path(), &digest), "kernfl").unwrap();
    let store = open(dir.path());
    assert_eq!(store.size(&digest), Some(6));
    assert_eq!(read(&store, &digest), Err(ReadError::Damaged));
}

#[tokio::test]
async fn a_damaged_file_that_was_never_read_is_replaced_by_an_upload() {
    let dir = tempfile::tempdir().unwrap();
    let digest = put(&open(dir.path()), b"kernel").await.digest;
    fs::write(blob_path(dir.path(), &digest), "kernfl").unwrap();
    let store = open(dir.path());
    assert!(put(&store, b"kernel").await.fresh);
    assert_eq!(read(&store, &digest).unwrap(), b"kernel");
}

#[tokio::test]
async fn many_first_readers_share_one_verification() {
    let dir = tempfile::tempdir().unwrap();
    let digest = put(&open(dir.path()), &vec![9; 8_000_000]).await.digest;
    let store = open(dir.path());
    let together = Arc::new(Barrier::new(16));
    let before = bytes_read();
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (store, together) = (store.clone(), together.clone());
            std::thread::spawn(move || {
                together.wait();
                store.open_blob(&digest).map(drop)
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Ok(()));
    }
    assert!(bytes_read() - before < 2 * 8_000_000 + 4_000_000, "read once, not sixteen times");
}

/// Bytes this process has read by system calls; other tests in it read little.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").expect("the test's own set-up");
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("the test's own set-up");
    line.parse().expect("the test's own set-up")
}

#[tokio::test]
async fn servers_that_must_not_block_are_told_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let digest = put(&open(dir.path()), b"kernel").await.digest;
    let store = open(dir.path());
    assert_eq!(store.ready(&digest), Err(ReadError::Busy), "the first question starts the verification");
    until(|| store.ready(&digest) == Ok((blob_path(dir.path(), &digest), 6))).await;
    assert_eq!(store.ready(&Digest::of(b"other")), Err(ReadError::Missing));
}

#[tokio::test]
async fn uploads_beyond_the_bound_wait_for_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut stuck = Vec::new();
    for _ in 0..UPLOADS_MAX {
        let store = store.clone();
        stuck.push(tokio::spawn(async move {
            let mut endless = pieces(b"x", 1).chain(stream::pending());
            store.receive(&mut endless, Declared::default()).await
        }));
    }
    until(|| files(&dir.path().join("tmp")).len() == UPLOADS_MAX).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { put(&store, b"kernel").await }
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(200), async {
            while !waiting.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
        .is_err()
    );
    stuck.pop().unwrap().abort();
    assert!(waiting.await.unwrap().fresh);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_removed_is_gone_unless_it_is_wanted_after_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (kept, doomed) = (put(&store, b"kept").await.digest, put(&store, b"doomed").await.digest);
    assert!(!store.remove(&kept, || false).unwrap());
    assert!(store.remove(&doomed, || true).unwrap());
    assert_eq!(read(&store, &doomed), Err(ReadError::Missing));
    assert_eq!(read(&store, &kept).unwrap(), b"kept");
    assert!(store.remove(&doomed, || true).unwrap(), "gone already is gone");
    assert_eq!(store.inventory().unwrap().into_iter().collect::<Vec<_>>(), [(kept, 4)]);
    assert!(put(&store, b"doomed").await.fresh, "and may come back");
}

#[tokio::test]
async fn reading_again_finds_what_no_stamp_tells() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = put(&store, &[7; 100_000]).await.digest;
    assert_eq!(store.reread(&digest, u64::MAX), Ok(()));
    assert_eq!(store.take_lost(), []);
    fs::File::options().write(true).open(blob_path(dir.path(), &digest)).unwrap().write_all_at(b"!", 5).unwrap();
    assert_eq!(store.reread(&digest, u64::MAX), Err(ReadError::Damaged));
    assert_eq!((store.take_lost(), store.quarantined()), (vec![digest], 1));
    assert_eq!(store.reread(&digest, u64::MAX), Err(ReadError::Missing));
}

#[tokio::test]
async fn an_upload_can_be_followed_and_says_at_the_end_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let content = vec![9; 1_000_000];
    for whole in [true, false] {
        let (told, follow) = std::sync::mpsc::channel::<Follow>();
        let how = Reception {
            follow: Some(Box::new(move |follow| told.send(follow).expect("somebody follows"))),
            ..Reception::new(Origin::Upload, Declared::default())
        };
        let broken = stream::iter((!whole).then_some(Err("connection reset".to_owned())));
        let mut sent = pieces(&content, 100_000).chain(broken);
        let received = store.receive_as(&mut sent, how).await;
        let seen: Result<Vec<Bytes>, _> =
            follow.recv().unwrap().bytes().collect::<Vec<_>>().await.into_iter().collect();
        assert_eq!((received.is_ok(), seen.is_ok()), (whole, whole));
        if let Ok(seen) = seen {
            let seen = seen.concat();
            let (bytes, digest) = seen.split_at(content.len());
            assert!(bytes == content, "all bytes, in order");
            assert_eq!(digest, Digest::of(&content).0);
        }
    }
}

#[tokio::test]
async fn bytes_whose_digest_comes_last_are_kept_only_if_it_comes_and_fits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (said, kept) in [(Some(Digest::of(b"kernel")), true), (Some(Digest::of(b"kernfl")), false), (None, false)] {
        let announced = Arc::new(std::sync::OnceLock::new());
        if let Some(said) = said {
            announced.set(said).expect("once");
        }
        let how = Reception { announced: Some(announced), ..Reception::new(Origin::Node, Declared::default()) };
        assert_eq!(store.receive_as(&mut pieces(b"kernel", 4), how).await.is_ok(), kept);
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("store")).unwrap_err().to_string();
    assert!(error.contains("file/store") && error.contains("must be a folder"), "{error}");
}

#[tokio::test]
async fn an_upload_that_would_starve_the_log_is_refused_before_a_byte_is_read() {
    let disk = SmallDisk::new(20);
    let store = open(disk.0.path());
    let room = store.room().unwrap();
    assert_eq!(room.reserve, 2 * 1024 * 1024, "a tenth of a small disk");
    let mut unread = pieces(&[1; 100], 10);
    let declared = Declared { size: Some(room.free - room.reserve + 1), digest: None };
    let error = store.receive(&mut unread, declared).await.unwrap_err();
    assert!(matches!(error, ReceiveError::NoSpace { .. }), "{error}");
    assert_eq!(unread.count().await, 10);
    assert!(files(disk.0.path()).is_empty());

    let size = 17 * 1024 * 1024;
    let declared = Declared { size: Some(size), digest: None };
    let fits = vec![5; usize::try_from(size).unwrap()];
    assert!(store.receive(&mut pieces(&fits, 100_000), declared).await.is_ok(), "up to the reserve it is kept");
}

#[tokio::test]
async fn a_disk_that_fills_up_midway_costs_the_upload_and_nothing_else() {
    let disk = SmallDisk::new(200);
    let store = open(disk.0.path());
    let kept = put(&store, b"kernel").await.digest;
    // Of unknown length: it gets its space step by step, and somebody else takes the rest.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, String>>(1);
    let upload = tokio::spawn({
        let store = store.clone();
        async move {
            let mut stream =
                Box::pin(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))));
            store.receive(&mut stream, Declared::default()).await
        }
    });
    let megabyte = Bytes::from(vec![3; 1024 * 1024]);
    sender.send(Ok(megabyte.clone())).await.unwrap();
    until(|| files(&disk.0.path().join("tmp")).len() == 1).await;
    let mut hog = fs::File::create(disk.0.path().join("hog")).unwrap();
    while hog.write_all(&megabyte).is_ok() {}
    for _ in 0..100 {
        if sender.send(Ok(megabyte.clone())).await.is_err() {
            break;
        }
    }
    drop(sender);
    let error = upload.await.unwrap().unwrap_err();
    assert!(matches!(error, ReceiveError::NoSpace { .. } | ReceiveError::DiskFull), "{error}");
    assert!(files(&disk.0.path().join("tmp")).is_empty());
    assert_eq!(read(&store, &kept).unwrap(), b"kernel");
}

async fn until(condition: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "the state waited for did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_folder_that_takes_no_blobs_is_said_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("blobs")).unwrap();
    // There nobody may move a file to, not even root.
    std::os::unix::fs::symlink("/proc/sys", dir.path().join("blobs/sha256")).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("nothing can be written") && error.contains("must be a folder this user may write"),
        "{error}"
    );
    assert!(fs::read_dir(dir.path().join("tmp")).unwrap().next().is_none(), "the probe is gone");
}
