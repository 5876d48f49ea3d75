//! The GraphQL documents. What they select, in this order and under these names, is what `-o json` prints.

macro_rules! images {
    () => {
        "images { service image digest }"
    };
}

macro_rules! stack {
    () => {
        concat!(
            "name environment generation observedGeneration phase reason message ",
            "conditions { type status reason message observedGeneration since } ",
            "desired { ref revision ",
            images!(),
            " } target { kind revision deploymentId ",
            images!(),
            " } live { revision deploymentId ",
            images!(),
            " } lastGood { deploymentId revision since ",
            images!(),
            " } held { revision deploymentId reason since ",
            images!(),
            " } pin { deploymentId versionOf actor reason until since } deploymentId ",
            "suspension { reason actor until since } deletion { keepRunning actor since } catalog { name file } ",
            "followedImages { service rule wanted poll repository tag digest since skipped tags checkedAt nextLook error } ",
            "drift { found corrections correctedAt } createdAt updatedAt "
        )
    };
}

/// What happens next: asked of one stack at a time, because it reads more than the stack.
macro_rules! next {
    () => {
        "next { text at } "
    };
}

/// A stack on the board of `watch`: it comes for every stack, so it is kept short.
macro_rules! row {
    () => {
        concat!(
            "name environment generation observedGeneration phase reason message ",
            "conditions { type status reason message since } desired { ref revision ",
            images!(),
            " } live { revision ",
            images!(),
            " } pin { versionOf actor reason until since } deploymentId drift { found } updatedAt ",
            next!(),
            "attempt { deploymentId createdAt services { service wanted healthy } } "
        )
    };
}

macro_rules! deployment {
    () => {
        concat!(
            "id: deploymentId stack environment generation trigger phase verdict reason message ",
            "failure { class service slot node error exitCode logTail healthLog } revision ",
            images!(),
            " actor statedReason rollbackOf rolledBackBy versionOf traceId ",
            "services { service wanted healthy obstacle waitsFor } url ",
            "jobs { service when direction phase startedAt deadline finishedAt exitCode logTail } plan warnings createdAt finishedAt "
        )
    };
}

/// Who made its commit, and what for: asked of one deployment at a time, because it is looked up in the repository.
macro_rules! commit {
    () => {
        "commit { author title time } "
    };
}

macro_rules! requests {
    () => {
        "originalRequest mappedRequest "
    };
}

macro_rules! environment {
    () => {
        concat!(
            "name endpoints tls ssh relay { url credential environment } connected since message engine api nodeCount ",
            "nodes { hostname role leader availability state addr engine cpus memory labels { name value } } ",
            "claim { state instance epoch } round { seconds listingSeconds at stacks } "
        )
    };
}

macro_rules! credential {
    () => {
        "name type hosts stacks keys createdAt updatedAt usedBy { kind name environment } "
    };
}

macro_rules! keyed {
    ($operation:literal, $field:literal, $input:literal) => {
        concat!(
            "mutation ",
            $operation,
            "($input: ",
            $input,
            "!) { ",
            $field,
            "(input: $input) { credential { ",
            credential!(),
            "} changes userErrors { code message field file line column hint } } }"
        )
    };
}

macro_rules! event {
    () => {
        "sequence time environment stack deploymentId type reason message actor via "
    };
}

macro_rules! token {
    () => {
        "name role environments stacks createdBy createdAt expiresAt lastUsedAt "
    };
}

macro_rules! order {
    ($operation:literal, $field:literal, $input:literal) => {
        concat!(
            "mutation ",
            $operation,
            "($input: ",
            $input,
            "!) { ",
            $field,
            "(input: $input) { stack { ",
            stack!(),
            "} deployment { ",
            deployment!(),
            "} userErrors { code message field file line column hint } } }"
        )
    };
}

pub(in crate::cli) const STACK: &str = concat!(
    "query Stack($name: String!, $environment: String!) { stack(name: $name, environment: $environment) { ",
    stack!(),
    next!(),
    "} }"
);
/// For the shell, while a name is typed.
pub(in crate::cli) const STACK_NAMES: &str = "query StackNames($environment: String, $name: String) { \
     stacks(first: 200, environment: $environment, nameContains: $name) { edges { node { name } } } }";
pub(in crate::cli) const ENVIRONMENT_NAMES: &str = "query EnvironmentNames { environments { name } }";
pub(in crate::cli) const STACKS: &str = concat!(
    "query Stacks($first: Int, $after: String, $environment: String, $phases: [StackPhase!], $text: String, ",
    "$order: StackOrder!) { stacks(first: $first, after: $after, environment: $environment, phases: $phases, ",
    "text: $text, order: $order) { edges { node { ",
    stack!(),
    "} } pageInfo { hasNextPage endCursor } } }"
);
pub(in crate::cli) const DEPLOYMENT: &str =
    concat!("query Deployment($id: ID!) { deployment(id: $id) { ", deployment!(), commit!(), requests!(), "} }");
pub(in crate::cli) const DEPLOYMENTS: &str = concat!(
    "query Deployments($first: Int, $after: String, $stack: String, $environment: String!) { ",
    "deployments(first: $first, after: $after, stack: $stack, environment: $environment) { edges { node { ",
    deployment!(),
    requests!(),
    "} } pageInfo { hasNextPage endCursor } } }"
);
pub(in crate::cli) const CLAIM_ENVIRONMENT: &str = concat!(
    "mutation Claim($input: ClaimEnvironmentInput!) { claimEnvironment(input: $input) { environment { ",
    environment!(),
    "} userErrors { code message field file line column hint } } }"
);
pub(in crate::cli) const ENVIRONMENTS: &str = concat!("query Environments { environments { ", environment!(), "} }");
pub(in crate::cli) const ENVIRONMENT: &str =
    concat!("query Environment($name: String!) { environment(name: $name) { ", environment!(), "} }");
pub(in crate::cli) const CREDENTIALS: &str = concat!("query Credentials { credentials { ", credential!(), "} }");
pub(in crate::cli) const TEST_CREDENTIAL: &str = "query TestCredential($name: String!, $url: String!) { \
    credentialTest(name: $name, url: $url) { url head branches tags } }";
pub(in crate::cli) const SET_CREDENTIAL: &str = keyed!("SetCredential", "setCredential", "SetCredentialInput");
pub(in crate::cli) const TRUST_HOST: &str = keyed!("TrustHost", "trustHost", "TrustHostInput");
pub(in crate::cli) const DELETE_CREDENTIAL: &str =
    keyed!("DeleteCredential", "deleteCredential", "DeleteCredentialInput");
pub(in crate::cli) const DELETE_ENVIRONMENT: &str = "mutation DeleteEnvironment($input: DeleteEnvironmentInput!) { \
    deleteEnvironment(input: $input) { name userErrors { code message field file line column hint } } }";
pub(in crate::cli) const NOTIFIERS: &str = "query Notifiers { notifiers { name type place credential environments stacks \
    events createdAt updatedAt status { pending delivered givenUp lastSuccessAt lastError lastErrorAt attempts \
    nextAttemptAt } } }";
pub(in crate::cli) const TEST_NOTIFIER: &str = "mutation TestNotifier($input: TestNotifierInput!) { \
    testNotifier(input: $input) { test { name delivered status message } \
    userErrors { code message field file line column hint } } }";
pub(in crate::cli) const DELETE_NOTIFIER: &str = "mutation DeleteNotifier($input: DeleteNotifierInput!) { \
    deleteNotifier(input: $input) { name userErrors { code message field file line column hint } } }";
pub(in crate::cli) const LOG_FILTER: &str = "query LogFilter { logFilter }";
pub(in crate::cli) const SET_LOG_FILTER: &str = "mutation SetLogFilter($input: SetLogFilterInput!) { \
    setLogFilter(input: $input) { filter userErrors { code message field file line column hint } } }";
pub(in crate::cli) const TOKENS: &str = concat!("query Tokens { tokens { ", token!(), "} }");
pub(in crate::cli) const CREATE_TOKEN: &str = concat!(
    "mutation CreateToken($input: CreateTokenInput!) { createToken(input: $input) { token { ",
    token!(),
    "} value userErrors { code message field file line column hint } } }"
);
pub(in crate::cli) const REVOKE_TOKEN: &str = "mutation RevokeToken($input: RevokeTokenInput!) { \
    revokeToken(input: $input) { name userErrors { code message field file line column hint } } }";
pub(in crate::cli) const RENDERING: &str = "query Rendering($stack: String!, $environment: String!, $ref: String, \
    $images: [ImageInput!]!) { rendering(stack: $stack, environment: $environment, ref: $ref, images: $images) { \
    revision digest objects warnings } }";
pub(in crate::cli) const CATALOGS: &str = "query Catalogs { catalogs { name git ref path credential poll prune pruneLimit \
    environments names inSync revision author title appliedAt files stacks { name environment file } \
    broken { file line message } kept keptBecause error } }";
pub(in crate::cli) const SYNC_CATALOG: &str = "mutation SyncCatalog($input: CatalogInput!) { \
    syncCatalog(input: $input) { name userErrors { code message field file line column hint } } }";
pub(in crate::cli) const DELETE_CATALOG: &str = "mutation DeleteCatalog($input: CatalogInput!) { \
    deleteCatalog(input: $input) { name userErrors { code message field file line column hint } } }";
pub(in crate::cli) const HOOKS: &str = "query Hooks { hooks { name path provider unsigned credential \
    rules { when stacks catalogs environment set { field value } } } }";
pub(in crate::cli) const HOOK_DELIVERIES: &str = "query HookDeliveries($hook: String!, $first: Int) { \
    hookDeliveries(hook: $hook, first: $first) { id deliveryId event at againBy deployments kept outcome message \
    reconciled { name environment } synced refused { stack { name environment } code message } } }";
pub(in crate::cli) const HOOK_TRIAL: &str = "query HookTrial($hook: String!, $event: String, $payload: String!) { \
    hookTrial(hook: $hook, event: $event, payload: $payload) { event rules { number holds objection } \
    stacks { stack { name environment } rule set { field value } outcome message } catalogs } }";
pub(in crate::cli) const REDELIVER_HOOK: &str = "mutation RedeliverHook($input: RedeliverHookInput!) { \
    redeliverHook(input: $input) { deliveryId deployments reconciled { name environment } synced message \
    refused { stack { name environment } code message } userErrors { code message field file line column hint } } }";
pub(in crate::cli) const DELETE_HOOK: &str = "mutation DeleteHook($input: DeleteHookInput!) { \
    deleteHook(input: $input) { name userErrors { code message field file line column hint } } }";
pub(in crate::cli) const EVENTS: &str = concat!(
    "query Events($first: Int, $after: String, $environment: String, $stack: String, $deployment: ID, ",
    "$types: [EventType!], $actor: String) { events(first: $first, after: $after, environment: $environment, ",
    "stack: $stack, deployment: $deployment, types: $types, actor: $actor, backwards: true) { edges { node { ",
    event!(),
    "} } pageInfo { hasNextPage endCursor } } }"
);
pub(in crate::cli) const COMPARISON: &str = "query Comparison($from: ID!, $to: ID!) { \
    comparison(from: $from, to: $to) { steps { kind name action reason changes { path from to } } unchanged } }";
pub(in crate::cli) const TASKS: &str = "query Tasks($stack: String!, $environment: String!) { \
    tasks(stack: $stack, environment: $environment) { taskId service slot node state desired current message exitCode \
    createdAt since } }";
pub(in crate::cli) const PLAN: &str = "query Plan($stack: String!, $environment: String!, $ref: String, \
    $images: [ImageInput!]!) { plan(stack: $stack, environment: $environment, ref: $ref, images: $images) { digest \
    steps { kind name action reason changes { path from to } wave waitsFor } \
    jobs { name when wave waitsFor } waiting warnings unchanged } }";

pub(in crate::cli) const APPLY: &str = concat!(
    "mutation Apply($input: ApplyStackInput!) { applyStack(input: $input) { documents { kind name environment created ",
    "changes stack { generation } deployment { ",
    deployment!(),
    "} } userErrors { code message field file line column hint } } }"
);
pub(in crate::cli) const ADOPT: &str = concat!(
    "mutation Adopt($input: AdoptStackInput!) { adoptStack(input: $input) { documents { kind name environment created ",
    "changes stack { generation } deployment { ",
    deployment!(),
    "} } plans { stack environment error needsCli plan { digest ",
    "steps { kind name action reason changes { path from to } } waiting warnings unchanged } } ",
    "userErrors { code message field file line column hint } } }"
);
pub(in crate::cli) const RUNNING: &str = concat!(
    "query Running($environment: String!, $stack: String) { runningStacks(environment: $environment, stack: $stack) ",
    "{ name manifest remarks } }"
);
pub(in crate::cli) const RELEASE: &str = order!("Release", "releaseStack", "ReleaseStackInput");
pub(in crate::cli) const DEPLOY: &str = order!("Deploy", "deployStack", "DeployStackInput");
pub(in crate::cli) const ROLLBACK: &str = order!("Rollback", "rollbackStack", "RollbackStackInput");
pub(in crate::cli) const UNPIN: &str = order!("Unpin", "unpinStack", "UnpinStackInput");
pub(in crate::cli) const RELEASE_HOLD: &str = order!("ReleaseHold", "releaseHold", "ReleaseHoldInput");
pub(in crate::cli) const CANCEL: &str = order!("Cancel", "cancelDeployment", "CancelDeploymentInput");
pub(in crate::cli) const APPROVE: &str = order!("Approve", "approveDeployment", "ApproveDeploymentInput");
pub(in crate::cli) const SUSPEND: &str = order!("Suspend", "suspendStack", "SuspendStackInput");
pub(in crate::cli) const RESUME: &str = order!("Resume", "resumeStack", "ResumeStackInput");
pub(in crate::cli) const RECONCILE: &str = order!("Reconcile", "reconcileStack", "ReconcileStackInput");
pub(in crate::cli) const DELETE: &str = order!("Delete", "deleteStack", "DeleteStackInput");

pub(in crate::cli) const FOLLOW_DEPLOYMENT: &str = concat!(
    "subscription FollowDeployment($id: ID!, $after: Int) { deploymentChanged(id: $id, after: $after) { ",
    "sequence deployment { ",
    deployment!(),
    requests!(),
    "} } }"
);
pub(in crate::cli) const FOLLOW_STACK: &str = concat!(
    "subscription FollowStack($name: String!, $environment: String!, $after: Int) { ",
    "stackChanged(name: $name, environment: $environment, after: $after) { sequence stack { ",
    stack!(),
    next!(),
    "} } }"
);
pub(in crate::cli) const FOLLOW_STACKS: &str = concat!(
    "subscription FollowStacks($environment: String, $after: Int) { ",
    "stacksChanged(environment: $environment, after: $after) { sequence snapshot { ",
    stack!(),
    "} stack { ",
    stack!(),
    "} deleted { name environment } } }"
);
pub(in crate::cli) const BOARD: &str = concat!(
    "subscription Board($environment: String, $after: Int) { ",
    "stacksChanged(environment: $environment, after: $after) { sequence snapshot { ",
    row!(),
    "} stack { ",
    row!(),
    "} deleted { name environment } } }"
);
pub(in crate::cli) const BOARD_WORST: &str = concat!(
    "subscription BoardWorst($environment: String) { ",
    "stackPageChanged(environment: $environment, first: 200, order: Worst) { sequence stacks { ",
    row!(),
    "} } }"
);
pub(in crate::cli) const BOARD_STACK: &str = concat!(
    "subscription BoardStack($name: String!, $environment: String!, $after: Int) { ",
    "stackChanged(name: $name, environment: $environment, after: $after) { sequence stack { ",
    stack!(),
    next!(),
    "attempt { deploymentId createdAt } } } }"
);
pub(in crate::cli) const FOLLOW_EVENTS: &str = concat!(
    "subscription FollowEvents($environment: String, $stack: String, $deployment: ID, $types: [EventType!], ",
    "$actor: String, $after: Int, $last: Int!) { eventAdded(environment: $environment, stack: $stack, ",
    "deployment: $deployment, types: $types, actor: $actor, after: $after, last: $last) { sequence event { ",
    event!(),
    "} } }"
);

pub(in crate::cli) const FOLLOW_LOGS: &str = "subscription FollowLogs($deployment: ID, $stack: String, \
    $environment: String!, $service: String, $tail: Int!, $since: DateTime, $after: Int, $follow: Boolean!) { \
    logLines(deployment: $deployment, stack: $stack, environment: $environment, service: $service, tail: $tail, \
    since: $since, after: $after, follow: $follow) { sequence ended lines { time service task slot node stream text } } }";

/// All of them, to be held against the schema.
#[cfg(test)]
pub(in crate::cli) const ALL: [&str; 58] = [
    STACK,
    STACK_NAMES,
    ENVIRONMENT_NAMES,
    STACKS,
    DEPLOYMENT,
    DEPLOYMENTS,
    CLAIM_ENVIRONMENT,
    ENVIRONMENTS,
    ENVIRONMENT,
    CREDENTIALS,
    TEST_CREDENTIAL,
    SET_CREDENTIAL,
    TRUST_HOST,
    DELETE_CREDENTIAL,
    DELETE_ENVIRONMENT,
    NOTIFIERS,
    TEST_NOTIFIER,
    DELETE_NOTIFIER,
    LOG_FILTER,
    SET_LOG_FILTER,
    TOKENS,
    CREATE_TOKEN,
    REVOKE_TOKEN,
    RENDERING,
    CATALOGS,
    SYNC_CATALOG,
    DELETE_CATALOG,
    HOOKS,
    HOOK_DELIVERIES,
    HOOK_TRIAL,
    REDELIVER_HOOK,
    DELETE_HOOK,
    EVENTS,
    COMPARISON,
    TASKS,
    PLAN,
    APPLY,
    ADOPT,
    RUNNING,
    RELEASE,
    DEPLOY,
    ROLLBACK,
    UNPIN,
    RELEASE_HOLD,
    CANCEL,
    APPROVE,
    SUSPEND,
    RESUME,
    RECONCILE,
    DELETE,
    FOLLOW_DEPLOYMENT,
    FOLLOW_STACK,
    FOLLOW_STACKS,
    BOARD,
    BOARD_WORST,
    BOARD_STACK,
    FOLLOW_EVENTS,
    FOLLOW_LOGS,
];
