//! Argon2id, off the async threads, a few at a time.
//!
//! Invariant: a check takes the same time whether or not there is anything to check against, and memory is bounded
//! by the number of hashes at once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use bus_schema::ErrorCode;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
};

use crate::http::Problem;

/// Hashes at once, each of 19 MiB.
const AT_ONCE: usize = 4;
/// Of these, for passwords that staff give to others: whoever gives many leaves the rest to those who log in.
const FOR_OTHERS_AT_ONCE: usize = 1;
/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(8);
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const SALT_BYTES: usize = 16;

/// A password as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed(pub String);

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashed(…)")
    }
}

/// The memory of a hash.
type Room = Vec<Block>;

#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    turns_for_others: Arc<Semaphore>,
    /// Used again and again: what each of the runtime's threads takes and frees, its allocator keeps for that thread.
    rooms: Arc<Mutex<Vec<Room>>>,
    /// What is checked where there is no account.
    decoy: Arc<str>,
}

impl Passwords {
    pub fn new() -> Self {
        let mut room = Room::new();
        let nobody = hash(b"nobody has this password", &mut room);
        let rooms = Arc::new(Mutex::new(vec![room]));
        let turns = |count| Arc::new(Semaphore::new(count));
        Self {
            turns: turns(AT_ONCE),
            turns_for_others: turns(FOR_OTHERS_AT_ONCE),
            rooms,
            decoy: nobody.into(),
        }
    }

    pub async fn hash(&self, password: String) -> Result<Hashed, Problem> {
        self.hash_in(self.turn().await?, password).await
    }

    /// A password that somebody gives to somebody else.
    pub async fn hash_for_another(&self, password: String) -> Result<Hashed, Problem> {
        let before = permit(&self.turns_for_others).await?;
        let turn = Turn { before: Some(before), ..self.turn().await? };
        self.hash_in(turn, password).await
    }

    async fn hash_in(&self, turn: Turn, password: String) -> Result<Hashed, Problem> {
        let hashed = turn.take(move |room| hash(password.as_bytes(), room)).await;
        hashed.map(Hashed).map_err(|error| Problem::fault("hash a password", &error))
    }

    /// Whether the password is right. `None`: there is nothing it could be right for.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Problem> {
        let turn = self.turn().await?;
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let right = turn.take(move |room| verify(password.as_bytes(), &stored, room)).await;
        let right = right.map_err(|error| Problem::fault("check a password", &error))?;
        Ok(right && known)
    }

    async fn turn(&self) -> Result<Turn, Problem> {
        Ok(Turn { permit: permit(&self.turns).await?, before: None, rooms: self.rooms.clone() })
    }
}

async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    match tokio::time::timeout(TURN_WITHIN, of.clone().acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(ErrorCode::Internal.into()),
        Err(_) => Err(Problem::unavailable("too many logins at once", AGAIN_AFTER)),
    }
}

/// The right to hash now.
struct Turn {
    permit: OwnedSemaphorePermit,
    /// What had to be waited for before.
    before: Option<OwnedSemaphorePermit>,
    rooms: Arc<Mutex<Vec<Room>>>,
}

impl Turn {
    /// The turn ends with the work, not with the request that asked for it: a client that hangs up stops no hash.
    async fn take<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Room) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Self { permit, before, rooms } = self;
        let work = move || {
            let free = || rooms.lock().unwrap_or_else(PoisonError::into_inner);
            let mut room = free().pop().unwrap_or_default();
            let done = work(&mut room);
            free().push(room);
            drop((permit, before));
            done
        };
        tokio::task::spawn_blocking(work).await
    }
}

fn hash(password: &[u8], room: &mut Room) -> String {
    let argon2 = Argon2::default();
    let salt: [u8; SALT_BYTES] = rand::random();
    let output = output(&argon2, password, &salt, Params::DEFAULT_OUTPUT_LEN, room);
    let made = output.zip(Salt::new(&salt).ok()).zip(ParamsString::try_from(argon2.params()).ok());
    let ((output, salt), params) =
        made.expect("the default parameters and any password of bounded length fit");
    let made = PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params,
        salt: Some(salt),
        hash: Some(output),
    };
    made.to_string()
}

fn verify(password: &[u8], stored: &str, room: &mut Room) -> bool {
    is_right(password, stored, room).unwrap_or(false)
}

/// None: what is stored is no hash of ours.
fn is_right(password: &[u8], stored: &str, room: &mut Room) -> Option<bool> {
    let stored = PasswordHash::new(stored).ok()?;
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
    let version = stored.version.map_or_else(|| Ok(Version::default()), Version::try_from).ok()?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&stored).ok()?);
    let (salt, wanted) = (stored.salt?, stored.hash?);
    let output = output(&argon2, password, &salt, wanted.len(), room)?;
    // Outputs compare in constant time.
    Some(output == wanted)
}

fn output(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    bytes: usize,
    room: &mut Room,
) -> Option<Output> {
    let blocks = argon2.params().block_count();
    if room.len() < blocks {
        room.resize(blocks, Block::default());
    }
    let mut out = vec![0; bytes];
    argon2.hash_password_into_with_memory(password, salt, &mut out, &mut room[..blocks]).ok()?;
    Output::new(&out).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse".into()).await.unwrap().0;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".into(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("nobody has this password".into(), None).await.unwrap());
        assert!(!passwords.verify("x".into(), Some("not a hash".into())).await.unwrap());
        // As any other implementation writes and reads them.
        let theirs = Argon2::default().hash_password(b"correct horse").unwrap().to_string();
        assert!(passwords.verify("correct horse".into(), Some(theirs)).await.unwrap());
        let ours = passwords.hash("correct horse".into()).await.unwrap().0;
        assert!(Argon2::default().verify_password(b"correct horse", ours.as_str()).is_ok());
    }

    #[tokio::test]
    async fn many_at_once_take_the_memory_of_a_few() {
        let passwords = Passwords::new();
        let hashes = (0..AT_ONCE * 4).map(|n| passwords.hash(format!("password {n}")));
        let hashes = futures::future::join_all(hashes).await;
        assert!(hashes.iter().all(Result::is_ok));
        let rooms = passwords.rooms.lock().unwrap();
        assert!((1..=AT_ONCE).contains(&rooms.len()), "{}", rooms.len());
        assert!(rooms.iter().all(|room| room.len() == Params::default().block_count()));
    }

    #[tokio::test]
    async fn whoever_gives_passwords_to_many_keeps_nobody_from_logging_in() {
        let passwords = Passwords::new();
        let given = Arc::new(AtomicUsize::new(0));
        let give = |n: usize| {
            let (passwords, given) = (passwords.clone(), Arc::clone(&given));
            async move {
                passwords.hash_for_another(format!("password {n}")).await.unwrap();
                given.fetch_add(1, Ordering::Relaxed);
            }
        };
        let mut many = std::pin::pin!(futures::future::join_all((0..AT_ONCE * 2).map(give)));
        // All of them wait for their turn before anybody logs in.
        assert!(futures::poll!(&mut many).is_pending());
        let login = passwords.verify("wrong horse".into(), None);
        tokio::select! {
            biased;
            _ = &mut many => panic!("everybody waited for those"),
            right = login => assert!(!right.unwrap()),
        }
        assert!(given.load(Ordering::Relaxed) <= AT_ONCE, "{given:?}");
        many.await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_thread_that_waits_for_hashes_does_other_work_meanwhile() {
        let passwords = Passwords::new();
        let hashes = (0..AT_ONCE).map(|n| passwords.hash(format!("password {n}")));
        let mut hashes = std::pin::pin!(futures::future::join_all(hashes));
        let mut other_work = 0;
        let hashes = loop {
            tokio::select! {
                biased;
                hashes = &mut hashes => break hashes,
                () = tokio::task::yield_now() => other_work += 1,
            }
        };
        assert!(hashes.iter().all(Result::is_ok));
        assert!(other_work > 10 * AT_ONCE, "{other_work}");
    }
}
