"""The meeting point of all functions: one table with one sparse index and a stream, and the bucket of models."""

# jsii names some parameters unlike the interfaces it implements (aws/jsii#4541).
# pyright: reportArgumentType=false

from aws_cdk import Acknowledgment, RemovalPolicy, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.config import DeploymentConfig

DUE_INDEX = "due"

# A ceiling on cost, not a reservation: a loop or an attack is throttled instead of billed without end.
MAX_WRITE_UNITS = 1_000
MAX_READ_UNITS = 2_000

# What an administrator's IAM policy may permit on the key, in full: the usual `kms:*` says less about it.
KEY_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)


class Storage(Construct):
    """The table, its key and the bucket of models; kept when the stack is deleted, except on the local AWS."""

    def __init__(self, scope: Construct, construct_id: str, *, config: DeploymentConfig) -> None:
        super().__init__(scope, construct_id)
        removal = RemovalPolicy.DESTROY if config.disposable else RemovalPolicy.RETAIN

        # Telegram's terms (4.4) ask for a key that is kept apart from the data it encrypts.
        self.key = kms.Key(
            self,
            "Key",
            description="Encrypts what Rekindle keeps about users",
            enable_key_rotation=True,
            removal_policy=removal,
            policy=iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        principals=[iam.AccountRootPrincipal()],
                        actions=list(KEY_ADMINISTRATION),
                        resources=["*"],  # in a key's own policy this means the key
                    )
                ]
            ),
        )
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            max_read_request_units=MAX_READ_UNITS,
            max_write_request_units=MAX_WRITE_UNITS,
            # New images only: a deletion must not carry what was deleted any further.
            stream=dynamodb.StreamViewType.NEW_IMAGE,
            time_to_live_attribute="expires_on",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            deletion_protection=not config.disposable,
            removal_policy=removal,
        )
        self.table.add_global_secondary_index(
            index_name=DUE_INDEX,
            partition_key=dynamodb.Attribute(name="due_shard", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="due_at", type=dynamodb.AttributeType.NUMBER),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
            max_read_request_units=MAX_READ_UNITS,
            max_write_request_units=MAX_WRITE_UNITS,
        )
        self.models = s3.Bucket(
            self,
            "Models",
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            removal_policy=removal,
        )
        Validations.of(self.models).acknowledge(
            Acknowledgment(
                id="AwsSolutions::AwsSolutions-S1",
                reason="Holds models only, no user's data; every version stays, and few roles reach them.",
            )
        )

    @property
    def due_index_arn(self) -> str:
        """ARN of the index of what is due, and of no other index."""
        return f"{self.table.table_arn}/index/{DUE_INDEX}"

    @property
    def stream_arn(self) -> str:
        """ARN of the table's stream."""
        arn = self.table.table_stream_arn
        if arn is None:
            raise TypeError("the table has no stream")
        return arn
