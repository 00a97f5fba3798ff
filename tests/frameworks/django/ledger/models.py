"""Tables with what migrations trip over: keys, constraints, indexes, JSON, arrays, search."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Account(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.CharField(max_length=80)
    tags = ArrayField(models.CharField(max_length=20), default=list)
    profile = models.JSONField(default=dict)
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        indexes = [GinIndex(fields=["profile"], name="account_profile")]
        constraints = [
            models.UniqueConstraint(fields=["owner"], name="account_owner_once"),
        ]


class Entry(models.Model):
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="entries")
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    booked_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount=0), name="entry_not_nothing"),
        ]
