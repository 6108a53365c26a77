//! Transports with a defect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport, TransportBuilder,
    TransportContext, TransportInfo,
};
use eidetica_core::SecretKey;
use eidetica_sync::transport::MemoryNetwork;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::TransportSubject;

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransportDefect {
    CutsRequests,
    CutsAnswers,
    EndsMessagesAtNul,
    AnswersEmptyRequestsItself,
    SwapsAnswers,
    LosesEveryTenthAnswer,
    SendsEverythingTwice,
    SendsAgainAfterTheDeadline,
    HandlesOneAtATime,
    OneLargeAtATime,
    IgnoresDeadlines,
    GivesUpTooEarly,
    SaysUnreachableAtTheDeadline,
    SendsWhatIsTooLarge,
    CarriesTooLittle,
    DialsEveryScheme,
    ReachesNobodySilently,
    ReportsTheWrongPeer,
    ReportsTheWrongCaller,
    BelievesClaims,
    ClaimsToKnowThePeer,
    ClaimsToKnowTheCaller,
    HasAddressesTooEarly,
    HasNoAddress,
    HasAnAddressThatLeadsNowhere,
    ListensTwice,
    ListensWithoutBeingAsked,
    GivesRequestsToTheWrongOne,
    AnswersAfterTheEnd,
    DropsWhatIsUnderWay,
    WaitsForEver,
    FailsToStopTwice,
    ListensNoMoreAfterTheEnd,
    KeepsTheServiceOfBefore,
    ClosesOnlyTheServer,
    CloseTwiceFails,
    PanicEndsTheServer,
    RefusalIsAnAnswer,
    DroppedCallsBreakTheChannel,
    DialsWhenClosed,
    OneChannelOnly,
    ForgetsTheKeyOfAnAddress,
    SharesItsAddress,
    SaysUnreachableWhenClosed,
    RefusesAsSomethingElse,
}

use TransportDefect::*;

/// The defects, and the cases that must catch them.
pub(super) const ALL: &[(TransportDefect, &[&str])] = &[
    (CutsRequests, &["transport.exchange.keeps-every-byte"]),
    (CutsAnswers, &["transport.exchange.keeps-every-byte", "transport.exchange.many-large-ones"]),
    (EndsMessagesAtNul, &["transport.exchange.keeps-every-byte"]),
    (AnswersEmptyRequestsItself, &["transport.exchange.keeps-every-byte"]),
    (SwapsAnswers, &["transport.exchange.answers-find-their-requests"]),
    (LosesEveryTenthAnswer, &["transport.exchange.once-at-most"]),
    (SendsEverythingTwice, &["transport.exchange.once-at-most"]),
    (SendsAgainAfterTheDeadline, &["transport.exchange.once-at-most"]),
    (HandlesOneAtATime, &["transport.limits.a-slow-call-holds-up-none"]),
    (OneLargeAtATime, &["transport.exchange.many-large-ones"]),
    (IgnoresDeadlines, &["transport.limits.a-deadline-holds"]),
    (GivesUpTooEarly, &["transport.limits.a-deadline-holds"]),
    (SaysUnreachableAtTheDeadline, &["transport.limits.a-deadline-holds"]),
    (SendsWhatIsTooLarge, &["transport.limits.too-large-is-not-sent"]),
    (CarriesTooLittle, &["transport.limits.carries-enough"]),
    (DialsEveryScheme, &["transport.dialling.other-schemes-are-refused"]),
    (
        ReachesNobodySilently,
        &["transport.dialling.nobody-there-is-told", "transport.dialling.comes-back-after-a-restart"],
    ),
    (ReportsTheWrongPeer, &["transport.dialling.knows-who-is-there"]),
    (ReportsTheWrongCaller, &["transport.dialling.knows-who-is-there"]),
    (BelievesClaims, &["transport.dialling.believes-no-claim"]),
    (ClaimsToKnowThePeer, &["transport.dialling.claims-to-know-nobody"]),
    (ClaimsToKnowTheCaller, &["transport.dialling.claims-to-know-nobody"]),
    (HasAddressesTooEarly, &["transport.listening.has-addresses-then"]),
    (HasNoAddress, &["transport.listening.has-addresses-then"]),
    (HasAnAddressThatLeadsNowhere, &["transport.listening.every-address-leads-here"]),
    (ListensTwice, &["transport.listening.once"]),
    (ListensWithoutBeingAsked, &["transport.listening.dialling-alone-does-not"]),
    (GivesRequestsToTheWrongOne, &["transport.listening.two-are-apart", "transport.exchange.both-ways"]),
    (AnswersAfterTheEnd, &["transport.stopping.nothing-comes-any-more"]),
    (DropsWhatIsUnderWay, &["transport.stopping.waits-for-what-is-under-way"]),
    (WaitsForEver, &["transport.stopping.waits-no-longer"]),
    (FailsToStopTwice, &["transport.stopping.without-listening-is-fine"]),
    (ListensNoMoreAfterTheEnd, &["transport.stopping.listens-again"]),
    (KeepsTheServiceOfBefore, &["transport.stopping.listens-again"]),
    (ClosesOnlyTheServer, &["transport.stopping.closing-ends-channels"]),
    (CloseTwiceFails, &["transport.stopping.closing-twice-is-fine"]),
    (PanicEndsTheServer, &["transport.exchange.a-panic-costs-one-request"]),
    (RefusalIsAnAnswer, &["transport.exchange.a-refusal-is-an-error"]),
    (DroppedCallsBreakTheChannel, &["transport.exchange.dropped-calls-harm-none"]),
    (DialsWhenClosed, &["transport.stopping.closing-ends-channels"]),
    (OneChannelOnly, &["transport.exchange.many-channels"]),
    (ForgetsTheKeyOfAnAddress, &["transport.dialling.the-key-of-an-address-counts"]),
    (SharesItsAddress, &["transport.listening.an-address-in-use-is-locked"]),
    (SaysUnreachableWhenClosed, &["transport.stopping.closing-ends-channels"]),
    (RefusesAsSomethingElse, &["transport.exchange.a-refusal-is-an-error"]),
];

/// A transport in memory with one defect, or none.
pub struct TransportMutant {
    network: MemoryNetwork,
    defect: Option<TransportDefect>,
    proves: bool,
    names: AtomicU64,
    /// For the defect that mixes up who is asked: the service that has listened last.
    latest: Arc<Mutex<Option<Arc<dyn Service>>>>,
}

impl TransportMutant {
    /// Without a defect; one that proves who is at both ends, or not.
    pub fn sound(proves: bool) -> TransportMutant {
        TransportMutant {
            network: MemoryNetwork::new(),
            defect: None,
            proves,
            names: AtomicU64::new(0),
            latest: Arc::default(),
        }
    }

    /// With this one.
    pub fn new(defect: TransportDefect) -> TransportMutant {
        let proves =
            matches!(defect, ReportsTheWrongPeer | ReportsTheWrongCaller | BelievesClaims | ForgetsTheKeyOfAnAddress);
        TransportMutant { defect: Some(defect), ..TransportMutant::sound(proves) }
    }

    fn new_name(&self) -> String {
        self.names.fetch_add(1, Ordering::SeqCst).to_string()
    }

    fn builder(&self, name: String, listens: bool) -> Box<dyn TransportBuilder> {
        Box::new(Builder {
            network: self.network.clone(),
            name,
            defect: self.defect,
            proves: self.proves,
            listens,
            latest: self.latest.clone(),
        })
    }
}

impl TransportSubject for TransportMutant {
    fn name(&self) -> String {
        match self.defect {
            Some(defect) => format!("{defect:?}"),
            None if self.proves => "memory, proving who is there".to_owned(),
            None => "memory".to_owned(),
        }
    }

    fn listening(&self) -> Result<Box<dyn TransportBuilder>> {
        Ok(self.builder(self.new_name(), true))
    }

    fn dialling(&self) -> Result<Box<dyn TransportBuilder>> {
        Ok(self.builder(self.new_name(), false))
    }

    fn one_place(&self) -> Result<Option<[Box<dyn TransportBuilder>; 2]>> {
        let name = self.new_name();
        Ok(Some([self.builder(name.clone(), true), self.builder(name, true)]))
    }
}

struct Builder {
    network: MemoryNetwork,
    name: String,
    defect: Option<TransportDefect>,
    proves: bool,
    listens: bool,
    latest: Arc<Mutex<Option<Arc<dyn Service>>>>,
}

#[async_trait]
impl TransportBuilder for Builder {
    fn wants_device_secret(&self) -> bool {
        self.proves
    }

    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        // In memory nobody proves anything to anybody: whoever has the secret is believed.
        let own = context.device_secret.map(|seed| SecretKey::from_seed(&seed).public());
        if self.proves && own != Some(context.device) && self.defect != Some(BelievesClaims) {
            return Err(Error::new(ErrorKind::InvalidInput, "the secret is that of another device"));
        }
        let inner = self.network.transport(self.name);
        let inner = if self.proves { inner.proves(context.device) } else { inner };
        Ok(Box::new(Mutant {
            inner: Arc::new(inner),
            proven: self.proves.then(|| context.device.to_string()),
            defect: self.defect,
            listens: self.listens,
            listened: AtomicBool::new(false),
            stopped: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            dialled: AtomicU64::new(0),
            first: Mutex::default(),
            latest: self.latest,
            lock: Arc::default(),
        }))
    }
}

struct Mutant {
    inner: Arc<dyn Transport>,
    /// The key of this device, which then stands in the addresses: `NAME#KEY`.
    proven: Option<String>,
    defect: Option<TransportDefect>,
    listens: bool,
    listened: AtomicBool,
    stopped: AtomicU64,
    closed: AtomicU64,
    dialled: AtomicU64,
    /// The service that has listened first.
    first: Mutex<Option<Arc<dyn Service>>>,
    latest: Arc<Mutex<Option<Arc<dyn Service>>>>,
    lock: Arc<Mutex<()>>,
}

impl Mutant {
    fn has(&self, defect: TransportDefect) -> bool {
        self.defect == Some(defect)
    }
}

#[async_trait]
impl Transport for Mutant {
    fn info(&self) -> TransportInfo {
        let mut info = self.inner.info();
        if self.has(CarriesTooLittle) {
            info.max_message = 8 << 10;
        }
        info
    }

    fn addresses(&self) -> Vec<Address> {
        let mut addresses = self.inner.addresses();
        if let Some(key) = &self.proven {
            addresses.iter_mut().for_each(|address| address.address += &format!("#{key}"));
        }
        let nowhere = Address::new(self.inner.info().scheme, "nowhere");
        if self.has(HasAddressesTooEarly) || (self.has(HasAnAddressThatLeadsNowhere) && !addresses.is_empty()) {
            addresses.push(nowhere);
        }
        // An empty list would end every case before it begins: it is lost when it stops and listens again.
        if self.has(HasNoAddress) && self.stopped.load(Ordering::SeqCst) == 0 && self.listened.load(Ordering::SeqCst) {
            addresses.clear();
        }
        addresses
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        let mut address = address.clone();
        if self.has(DialsEveryScheme) {
            address.transport_type = self.inner.info().scheme;
        }
        if self.has(OneChannelOnly) && self.dialled.fetch_add(1, Ordering::SeqCst) >= 4 {
            return Err(Error::new(ErrorKind::Unreachable, "there are too many channels"));
        }
        let mut named = None;
        if let Some((name, key)) = address.address.clone().split_once('#').filter(|_| self.proven.is_some()) {
            address.address = name.to_owned();
            named = Some(key.to_owned()).filter(|_| !self.has(ForgetsTheKeyOfAnAddress));
        }
        let closed = self.closed.load(Ordering::SeqCst) > 0;
        let channel: Box<dyn Channel> = match self.inner.dial(&address, options).await {
            Err(_) if self.has(ReachesNobodySilently) && !closed => Box::new(Echo),
            Err(error) if self.has(DialsWhenClosed) && error.kind() == ErrorKind::Closed => Box::new(Echo),
            dialled => dialled?,
        };
        if named.is_some() && named != channel.peer().map(|key| key.to_string()) {
            return Err(Error::new(ErrorKind::Unauthenticated, "another device is at this address"));
        }
        Ok(Box::new(MutantChannel {
            channel: channel.into(),
            defect: self.defect,
            max_message: self.inner.info().max_message,
            count: AtomicU64::new(0),
            held: Mutex::default(),
            lock: self.lock.clone(),
        }))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        if !self.listens && !self.has(ListensWithoutBeingAsked) {
            return Err(Error::new(ErrorKind::Unsupported, "this transport was built for dialling"));
        }
        if self.has(ListensNoMoreAfterTheEnd) && self.stopped.load(Ordering::SeqCst) > 0 {
            return Err(Error::new(ErrorKind::Closed, "it has stopped"));
        }
        if self.has(ListensTwice) && self.listened.load(Ordering::SeqCst) {
            return Ok(());
        }
        let service = match self.defect {
            Some(KeepsTheServiceOfBefore) => self.first.lock().await.get_or_insert(service).clone(),
            Some(GivesRequestsToTheWrongOne) => {
                *self.latest.lock().await = Some(service.clone());
                Arc::new(Latest(self.latest.clone()))
            }
            _ => service,
        };
        let service =
            Arc::new(MutantService { service, defect: self.defect, lock: Mutex::new(()), dead: false.into() });
        match self.inner.listen(service).await {
            Err(error) if self.has(SharesItsAddress) && error.kind() == ErrorKind::Locked => {}
            listening => listening?,
        }
        self.listened.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        let times = self.stopped.fetch_add(1, Ordering::SeqCst);
        match self.defect {
            Some(AnswersAfterTheEnd) => Ok(()),
            Some(DropsWhatIsUnderWay) => self.inner.stop_listening(Duration::ZERO).await,
            Some(WaitsForEver) => self.inner.stop_listening(Duration::from_secs(8)).await,
            Some(FailsToStopTwice) if times > 0 => Err(Error::new(ErrorKind::Closed, "it has stopped already")),
            _ => self.inner.stop_listening(grace).await,
        }
    }

    async fn close(&self) -> Result<()> {
        let times = self.closed.fetch_add(1, Ordering::SeqCst);
        match self.defect {
            Some(ClosesOnlyTheServer) => self.inner.stop_listening(Duration::ZERO).await,
            Some(CloseTwiceFails) if times > 0 => Err(Error::new(ErrorKind::Closed, "it was closed already")),
            _ => self.inner.close().await,
        }
    }
}

/// Says what was said, and reaches nobody.
struct Echo;

#[async_trait]
impl Channel for Echo {
    async fn request(&self, message: Bytes, _: CallOptions) -> Result<Bytes> {
        Ok(message)
    }

    fn peer(&self) -> Option<PublicKey> {
        None
    }
}

struct MutantChannel {
    channel: Arc<dyn Channel>,
    defect: Option<TransportDefect>,
    max_message: usize,
    count: AtomicU64,
    /// An answer that was kept back for another request, or the sign that the channel is in use.
    held: Mutex<Option<Bytes>>,
    lock: Arc<Mutex<()>>,
}

#[async_trait]
impl Channel for MutantChannel {
    async fn request(&self, mut message: Bytes, mut options: CallOptions) -> Result<Bytes> {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let timeout = options.timeout;
        let Some(defect) = self.defect else { return self.channel.request(message, options).await };
        match defect {
            CutsRequests => message.truncate(65_536),
            EndsMessagesAtNul => {
                message.truncate(message.iter().skip(1).position(|byte| *byte == 0).map_or(message.len(), |at| at + 1))
            }
            AnswersEmptyRequestsItself if message.is_empty() => return Ok("empty".into()),
            SendsEverythingTwice => drop(self.channel.request(message.clone(), options).await?),
            SendsAgainAfterTheDeadline => {
                let sent = self.channel.request(message.clone(), options).await;
                if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout) {
                    let again = CallOptions::timeout(Duration::from_millis(100));
                    return self.channel.request(message, again).await;
                }
                return sent;
            }
            IgnoresDeadlines => options.timeout = Duration::from_secs(10),
            GivesUpTooEarly => options.timeout = timeout / 2,
            SendsWhatIsTooLarge if message.len() > self.max_message => {
                let _ = self.channel.request(message.slice(..1), options).await;
            }
            _ => {}
        }
        let broken = || Error::new(ErrorKind::Unreachable, "the connection is lost");
        if defect == DroppedCallsBreakTheChannel {
            if self.held.lock().await.replace(Bytes::new()).is_some() {
                return Err(broken());
            }
            // Whoever drops this here leaves the channel in use.
            let answer = self.channel.request(message, options).await;
            self.held.lock().await.take();
            return answer;
        }
        let large = message.len() > 100_000;
        let _alone = match defect {
            OneLargeAtATime if large => Some(self.lock.try_lock().map_err(|_| broken())?),
            _ => None,
        };
        let answer = self.channel.request(message, options).await;
        match defect {
            SaysUnreachableAtTheDeadline => answer.map_err(|error| match error.kind() {
                ErrorKind::Timeout => broken(),
                _ => error,
            }),
            SaysUnreachableWhenClosed => answer.map_err(|error| match error.kind() {
                ErrorKind::Closed => broken(),
                _ => error,
            }),
            RefusesAsSomethingElse => answer.map_err(|error| match error.kind() {
                ErrorKind::Full => Error::new(ErrorKind::PermissionDenied, "the peer has refused"),
                _ => error,
            }),
            CutsAnswers => answer.map(|mut answer| {
                answer.truncate(65_536);
                answer
            }),
            LosesEveryTenthAnswer if count.is_multiple_of(10) => {
                sleep(timeout.min(Duration::from_secs(1))).await;
                Err(Error::new(ErrorKind::Timeout, "no answer has come"))
            }
            SwapsAnswers => {
                let answer = answer?;
                Ok(self.held.lock().await.replace(answer.clone()).unwrap_or(answer))
            }
            RefusalIsAnAnswer if answer.is_err() => Ok(Bytes::new()),
            _ => answer,
        }
    }

    fn peer(&self) -> Option<PublicKey> {
        match self.defect {
            Some(ReportsTheWrongPeer | ClaimsToKnowThePeer) => Some(PublicKey::from_bytes([7; 32])),
            _ => self.channel.peer(),
        }
    }
}

/// The service that has listened last, whoever was asked.
struct Latest(Arc<Mutex<Option<Arc<dyn Service>>>>);

#[async_trait]
impl Service for Latest {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        let service = self.0.lock().await.clone();
        match service {
            Some(service) => service.handle(caller, message).await,
            None => Ok(message),
        }
    }
}

struct MutantService {
    service: Arc<dyn Service>,
    defect: Option<TransportDefect>,
    lock: Mutex<()>,
    dead: AtomicBool,
}

#[async_trait]
impl Service for MutantService {
    async fn handle(&self, mut caller: Caller, message: Bytes) -> Result<Bytes> {
        match self.defect {
            Some(ReportsTheWrongCaller | ClaimsToKnowTheCaller) => {
                caller.proven = Some(PublicKey::from_bytes([7; 32]));
            }
            Some(PanicEndsTheServer) => {
                if self.dead.load(Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Closed, "the server has panicked"));
                }
                self.dead.store(true, Ordering::SeqCst);
                let answer = self.service.handle(caller, message).await;
                self.dead.store(false, Ordering::SeqCst);
                return answer;
            }
            _ => {}
        }
        let _alone = match self.defect {
            Some(HandlesOneAtATime) => Some(self.lock.lock().await),
            _ => None,
        };
        self.service.handle(caller, message).await
    }
}
