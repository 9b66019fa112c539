//! Bugs that can be planted between the real decisions and the model, to see that the simulation finds them.
//!
//! Switches of one run: nothing of them is compiled into a service.

/// What is wrong in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Agents' states are written whatever is there.
    ExpectationDropped,
    /// 10071 counts as stored.
    MismatchTakenForSuccess,
    /// A write without an answer counts as never stored.
    UnknownTakenForFailure,
    /// 10164 ends a write, and the thread or agent is read again.
    ContentionTakenForFailure,
    /// An agent may hold one more than the state says.
    CapacityOffByOne,
    /// Who disconnects is lost at once.
    GraceSkipped,
    /// What a timer did is done once more.
    TimerTwice,
    /// A repeated command is carried out again.
    DedupeLost,
    /// Who waits longest goes last.
    FifoBroken,
    /// Everyone is equally urgent.
    PriorityIgnored,
    /// Reads that must be the leader's are a replica's.
    StaleReadTrusted,
    /// An agent's `take` is written whatever became of the thread.
    TakeNotFenced,
    /// A report that an agent left is answered and forgotten.
    OfflineAgentKept,
    /// A lease that ended is not noticed.
    DeadEdgeKept,
    /// Part of a batch is lost.
    BatchSplit,
    /// A thread that lost its agent waits behind all others.
    RequeuedAtTail,
    /// Decisions are not written down.
    Unexplained,
    /// A list of leases that cannot be read counts as empty.
    OutageTakenForAbsence,
    /// A close leaves the thread with its agent.
    SlotKept,
    /// Messages are written whatever became of their thread.
    FenceDropped,
    /// A message of the log is never read.
    GapUnseen,
    /// Nobody remembers who was given a thread last.
    TurnsForgotten,
    /// Groups are open at any time.
    HoursIgnored,
    /// Edges name none of their visitors.
    VisitorsUnheard,
    /// Nobody remembers when an agent left the last edge that worked.
    LeavingForgotten,
    /// Any number of threads may wait.
    QueueMaxIgnored,
    /// Threads wait although nobody of their group is there and it keeps none.
    WhenOfflineIgnored,
    /// A command is for whose conversation it names, whoever sent it.
    WallsDown,
    /// That an agent accepts chats is not heard.
    AgentUnheard,
    /// Routers know nobody of a group.
    MembersForgotten,
    /// Everyone who is connected accepts chats.
    AwayIgnored,
    /// Edges name visitors who have left them.
    LeftVisitorKept,
    /// Nobody is asked what was said before a silence counts.
    SilenceAssumed,
    /// What concerns a thread's routing state alone is written whatever became of the thread.
    StateNotFenced,
    /// What was done is answered as refused.
    DoneAndRefused,
    /// What was done is said to be where something else is.
    AnswerMisplaced,
}

impl Bug {
    pub const ALL: [Bug; 36] = [
        Bug::ExpectationDropped,
        Bug::MismatchTakenForSuccess,
        Bug::UnknownTakenForFailure,
        Bug::ContentionTakenForFailure,
        Bug::CapacityOffByOne,
        Bug::GraceSkipped,
        Bug::TimerTwice,
        Bug::DedupeLost,
        Bug::FifoBroken,
        Bug::PriorityIgnored,
        Bug::StaleReadTrusted,
        Bug::TakeNotFenced,
        Bug::OfflineAgentKept,
        Bug::DeadEdgeKept,
        Bug::BatchSplit,
        Bug::RequeuedAtTail,
        Bug::Unexplained,
        Bug::OutageTakenForAbsence,
        Bug::SlotKept,
        Bug::FenceDropped,
        Bug::GapUnseen,
        Bug::TurnsForgotten,
        Bug::HoursIgnored,
        Bug::VisitorsUnheard,
        Bug::LeavingForgotten,
        Bug::QueueMaxIgnored,
        Bug::WhenOfflineIgnored,
        Bug::WallsDown,
        Bug::AgentUnheard,
        Bug::MembersForgotten,
        Bug::AwayIgnored,
        Bug::LeftVisitorKept,
        Bug::SilenceAssumed,
        Bug::StateNotFenced,
        Bug::DoneAndRefused,
        Bug::AnswerMisplaced,
    ];

    /// The check that it was planted for, where others may be faster.
    pub const fn shows(self) -> Option<&'static str> {
        match self {
            Bug::LeavingForgotten => Some("grace-is-kept"),
            Bug::MembersForgotten => Some("no-idle-queue"),
            Bug::AwayIgnored => Some("nothing-for-who-is-away"),
            Bug::LeftVisitorKept => Some("visitors-who-left-are-let-go"),
            Bug::SilenceAssumed => Some("timers-ask-first"),
            Bug::DoneAndRefused => Some("one-outcome"),
            Bug::AnswerMisplaced => Some("acked-is-stored"),
            _ => None,
        }
    }
}
