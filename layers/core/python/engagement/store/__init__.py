"""The one DynamoDB table, through PynamoDB: the only importer of pynamodb."""
