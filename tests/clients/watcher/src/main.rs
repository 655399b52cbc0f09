//! An extension as AWS's crate makes them: prints each event and each record of telemetry.

use lambda_extension::{
    service_fn, Error, Extension, LambdaEvent, LambdaTelemetry, LogBuffering, NextEvent,
    SharedService,
};
use serde_json::{json, Value};

async fn told(event: LambdaEvent) -> Result<(), Error> {
    let seen = match event.next {
        NextEvent::Invoke(invoke) => json!({
            "event": "INVOKE",
            "requestId": invoke.request_id,
            "functionArn": invoke.invoked_function_arn,
            "deadlineMs": invoke.deadline_ms,
            "tracing": invoke.tracing.value,
        }),
        NextEvent::Shutdown(shutdown) => json!({
            "event": "SHUTDOWN",
            "reason": shutdown.shutdown_reason,
            "deadlineMs": shutdown.deadline_ms,
        }),
    };
    println!("watcher: {seen}");
    if seen["event"] == "SHUTDOWN" {
        std::process::exit(0);
    }
    Ok(())
}

async fn received(batch: Vec<LambdaTelemetry<Value>>) -> Result<(), Error> {
    for record in batch {
        println!("watcher: {}", serde_json::to_string(&record)?);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let at_once = LogBuffering { timeout_ms: 25, max_bytes: 262_144, max_items: 1_000 };
    let extension = Extension::new()
        .with_events_processor(service_fn(told))
        .with_telemetry_record_type::<Value>()
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_buffering(at_once)
        .with_telemetry_processor(SharedService::new(service_fn(received)))
        .register()
        .await?;
    println!("watcher: {}", json!({ "event": "REGISTERED", "function": extension.function_name,
        "version": extension.function_version, "handler": extension.handler,
        "account": extension.account_id }));
    extension.run().await
}
